/* A plugin of qemu-user for 64-bit ARM: the blocks of code that run between two marks, each with its executions and
   with the lines that a model of the board's caches lacks.

   Its arguments are out=FILE and board=rpi4, rpi5 or jetson-nano. The guest marks by asking for a priority, which no
   runtime does: a process's begins or ends a count, a user's empties the caches and has them follow what runs before
   the next count. A count that no such mark precedes begins with empty caches. At each end come lines

     BLOCK executions misses1 misses2 misses3 code    with code as words of eight hexadecimal digits
     END

   The caches hold the least lines' ages exactly (LRU), and neither prefetch nor write back.
   Debian has no header of the interface (version 1, QEMU 7.2), so what is used of it is declared here. */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t id_type;
typedef uint32_t access_info;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum operation { ADD_U64 };
enum registers { NO_REGISTERS };
enum direction { READ_OR_WRITE = 3 };
typedef void syscall_callback(id_type, unsigned int, int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                              uint64_t, uint64_t, uint64_t);
typedef void access_callback(unsigned int, access_info, uint64_t, void *);

void qemu_plugin_register_vcpu_tb_trans_cb(id_type, void (*)(id_type, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, enum operation, void *, uint64_t);
void qemu_plugin_register_vcpu_syscall_cb(id_type, syscall_callback *);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, access_callback *, enum registers, enum direction,
                                      void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
unsigned int qemu_plugin_mem_size_shift(access_info);

int qemu_plugin_version = 1;

enum { MOST_LEVELS = 3, LINE_SHIFT = 6, WORD = 4 };
static const int64_t getpriority_number = 141;
enum { OF_PROCESS = 0, OF_USER = 2 };

typedef struct block {
  uint64_t executions, misses[MOST_LEVELS];
  size_t words;
  uint32_t *code;
  struct block *next;
} block;

typedef struct {
  size_t sets, ways;
  uint64_t *lines, *ages; /* sets x ways; a line is its number + 1, 0 for none */
} cache;

static block *blocks;
static cache caches[MOST_LEVELS];
static int levels;
static uint64_t now, last_line;
static int follows, counts; /* whether the caches follow, and whether misses are counted */
static FILE *out;

static void *zeros(size_t count, size_t size) {
  void *made = calloc(count, size);
  if (!made) fprintf(stderr, "count_blocks: no memory\n"), exit(1);
  return made;
}

static void add_cache(size_t bytes, size_t ways) {
  cache *made = &caches[levels++];
  made->ways = ways;
  made->sets = (bytes >> LINE_SHIFT) / ways;
  made->lines = zeros(made->sets * ways, sizeof *made->lines);
  made->ages = zeros(made->sets * ways, sizeof *made->ages);
}

static void empty_caches(void) {
  for (int level = 0; level < levels; level++) {
    size_t size = caches[level].sets * caches[level].ways;
    memset(caches[level].lines, 0, size * sizeof *caches[level].lines);
    memset(caches[level].ages, 0, size * sizeof *caches[level].ages);
  }
  last_line = 0;
}

/* Whether a cache has a line, which it has from now on. */
static int touch(cache *which, uint64_t line) {
  size_t first = (line % which->sets) * which->ways, oldest = first;
  for (size_t way = first; way < first + which->ways; way++) {
    if (which->lines[way] == line) {
      which->ages[way] = ++now;
      return 1;
    }
    if (which->ages[way] < which->ages[oldest]) oldest = way;
  }
  which->lines[oldest] = line;
  which->ages[oldest] = ++now;
  return 0;
}

static void accessed(unsigned int cpu, access_info info, uint64_t address, void *user) {
  if (!follows || cpu) return;
  block *here = user;
  uint64_t first = (address >> LINE_SHIFT) + 1;
  uint64_t last = ((address + (UINT64_C(1) << qemu_plugin_mem_size_shift(info)) - 1) >> LINE_SHIFT) + 1;
  for (uint64_t line = first; line <= last; line++) {
    if (line == last_line) continue; /* still the youngest of its set */
    last_line = line;
    int level = 0;
    while (level < levels && !touch(&caches[level], line)) level++;
    for (int lacking = 0; counts && lacking < level; lacking++) here->misses[lacking]++;
  }
}

static void translated(id_type id, struct qemu_plugin_tb *found) {
  (void)id;
  block *made = zeros(1, sizeof *made);
  made->words = qemu_plugin_tb_n_insns(found);
  made->code = zeros(made->words, WORD);
  made->next = blocks;
  blocks = made;
  for (size_t place = 0; place < made->words; place++) {
    struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(found, place);
    memcpy(made->code + place, qemu_plugin_insn_data(instruction), WORD);
    qemu_plugin_register_vcpu_mem_cb(instruction, accessed, NO_REGISTERS, READ_OR_WRITE, made);
  }
  qemu_plugin_register_vcpu_tb_exec_inline(found, ADD_U64, &made->executions, 1);
}

static void begin(void) {
  if (!follows) empty_caches();
  for (block *each = blocks; each; each = each->next) {
    each->executions = 0;
    memset(each->misses, 0, sizeof each->misses);
  }
  follows = counts = 1;
}

static void end(void) {
  follows = counts = 0;
  for (block *each = blocks; each; each = each->next) {
    if (!each->executions) continue;
    fprintf(out, "BLOCK %" PRIu64, each->executions);
    for (int level = 0; level < MOST_LEVELS; level++) fprintf(out, " %" PRIu64, each->misses[level]);
    fputc(' ', out);
    for (size_t place = 0; place < each->words; place++) fprintf(out, "%08" PRIx32, each->code[place]);
    fputc('\n', out);
  }
  fprintf(out, "END\n");
  fflush(out);
}

static void called(id_type id, unsigned int cpu, int64_t number, uint64_t which, uint64_t b, uint64_t c, uint64_t d,
                   uint64_t e, uint64_t f, uint64_t g, uint64_t h) {
  (void)id, (void)cpu, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
  if (number != getpriority_number) return;
  if (which == OF_USER) {
    empty_caches();
    follows = 1;
  } else if (which == OF_PROCESS && counts) {
    end();
  } else if (which == OF_PROCESS) {
    begin();
  }
}

int qemu_plugin_install(id_type id, const void *info, int argc, char **argv) {
  (void)info;
  const char *board = "";
  for (int place = 0; place < argc; place++) {
    if (!strncmp(argv[place], "out=", 4)) out = fopen(argv[place] + 4, "w");
    if (!strncmp(argv[place], "board=", 6)) board = argv[place] + 6;
  }
  if (!strcmp(board, "rpi4")) { /* BCM2711 */
    add_cache(32 << 10, 2);
    add_cache(1 << 20, 16);
  } else if (!strcmp(board, "rpi5")) { /* BCM2712 */
    add_cache(64 << 10, 4);
    add_cache(512 << 10, 8);
    add_cache(2 << 20, 16);
  } else if (!strcmp(board, "jetson-nano")) { /* Tegra X1, its Cortex-A57s */
    add_cache(32 << 10, 2);
    add_cache(2 << 20, 16);
  }
  if (!out || !levels) {
    fprintf(stderr, "count_blocks: give out=FILE, which can be written, and board=rpi4, rpi5 or jetson-nano\n");
    return 1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_vcpu_syscall_cb(id, called);
  return 0;
}
