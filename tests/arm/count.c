/* A plugin of qemu-user: prints "INSNS n", the guest's instructions, on standard error at the end.
   Debian has no header of the interface (version 1, QEMU 7.2), so what is used of it is declared here. */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef uint64_t id_type;
struct qemu_plugin_tb;
enum operation { ADD_U64 };

void qemu_plugin_register_vcpu_tb_trans_cb(id_type, void (*)(id_type, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, enum operation, void *, uint64_t);
void qemu_plugin_register_atexit_cb(id_type, void (*)(id_type, void *), void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);

int qemu_plugin_version = 1;
static uint64_t instructions;

static void translated(id_type id, struct qemu_plugin_tb *block) {
  (void)id;
  qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &instructions, qemu_plugin_tb_n_insns(block));
}

static void ended(id_type id, void *unused) {
  (void)id, (void)unused;
  fprintf(stderr, "INSNS %" PRIu64 "\n", instructions);
}

int qemu_plugin_install(id_type id, const void *info, int argc, char **argv) {
  (void)info, (void)argc, (void)argv;
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_atexit_cb(id, ended, NULL);
  return 0;
}
