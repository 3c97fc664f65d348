/* A plugin of qemu-user for 64-bit ARM: prints the guest's instructions on standard error, "INSNS n" at the
   end and "MARK n" whenever the guest asks for its priority, which no runtime does.
   Debian has no header of the interface (version 1, QEMU 7.2), so what is used of it is declared here. */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef uint64_t id_type;
struct qemu_plugin_tb;
enum operation { ADD_U64 };
typedef void syscall_callback(id_type, unsigned int, int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                              uint64_t, uint64_t, uint64_t);

void qemu_plugin_register_vcpu_tb_trans_cb(id_type, void (*)(id_type, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, enum operation, void *, uint64_t);
void qemu_plugin_register_vcpu_syscall_cb(id_type, syscall_callback *);
void qemu_plugin_register_atexit_cb(id_type, void (*)(id_type, void *), void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);

int qemu_plugin_version = 1;
static uint64_t instructions;
static const int64_t getpriority_number = 141;

static void translated(id_type id, struct qemu_plugin_tb *block) {
  (void)id;
  qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &instructions, qemu_plugin_tb_n_insns(block));
}

static void called(id_type id, unsigned int cpu, int64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                   uint64_t e, uint64_t f, uint64_t g, uint64_t h) {
  (void)id, (void)cpu, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
  if (number == getpriority_number) fprintf(stderr, "MARK %" PRIu64 "\n", instructions);
}

static void ended(id_type id, void *unused) {
  (void)id, (void)unused;
  fprintf(stderr, "INSNS %" PRIu64 "\n", instructions);
}

int qemu_plugin_install(id_type id, const void *info, int argc, char **argv) {
  (void)info, (void)argc, (void)argv;
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_vcpu_syscall_cb(id, called);
  qemu_plugin_register_atexit_cb(id, ended, NULL);
  return 0;
}
