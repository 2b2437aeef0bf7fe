/* Interception of libc where other libraries call it: the slots of their global offset tables are pointed at the functions
 * of libc_calls.c, which count and call on. What crosses to the kernel through libc is seen, whoever calls: the
 * interpreter, SQLite, OpenSSL, libpq, uvloop. Calls that libc makes inside itself are not.
 */
#define _GNU_SOURCE
#include "libc_calls.h"

#ifdef METERCAST_INTERCEPTS
#include <elf.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef __x86_64__
#define SLOT_A R_X86_64_JUMP_SLOT
#define SLOT_B R_X86_64_GLOB_DAT
#define SLOT_C R_X86_64_64 /* tables of function pointers, as SQLite has one */
#else
#define SLOT_A R_AARCH64_JUMP_SLOT
#define SLOT_B R_AARCH64_GLOB_DAT
#define SLOT_C R_AARCH64_ABS64
#endif

static void *replacement_of(const char *name) {
    for (const Replacement *one = metercast_calls; one->name; one++)
        if (strcmp(name, one->name) == 0) return one->function;
    for (const Replacement *one = metercast_stdio; one->name; one++)
        if (strcmp(name, one->name) == 0) return one->function;
    return NULL;
}

typedef struct {
    ElfW(Addr) base, relro_start, relro_end;
    const ElfW(Sym) *symbols;
    const char *names;
} Library;

static void patch_slot(const Library *library, ElfW(Addr) address, void *function) {
    void **slot = (void **)address;
    if (*slot == function) return;
    long page = sysconf(_SC_PAGESIZE);
    int is_read_only = address >= library->relro_start && address < library->relro_end;
    void *place = (void *)(address & ~(ElfW(Addr))(page - 1));
    if (is_read_only && mprotect(place, (size_t)page, PROT_READ | PROT_WRITE) != 0) return;
    __atomic_store_n(slot, function, __ATOMIC_RELEASE);
    if (is_read_only) mprotect(place, (size_t)page, PROT_READ);
}

static void patch_table(const Library *library, const ElfW(Rela) *table, size_t size) {
    for (size_t i = 0; i < size / sizeof *table; i++) {
        unsigned long type = ELF64_R_TYPE(table[i].r_info), symbol = ELF64_R_SYM(table[i].r_info);
        if (type != SLOT_A && type != SLOT_B && (type != SLOT_C || table[i].r_addend)) continue;
        void *function = replacement_of(library->names + library->symbols[symbol].st_name);
        if (function) patch_slot(library, library->base + table[i].r_offset, function);
    }
}

static int is_ours_or_libc(const struct dl_phdr_info *info) {
    const char *file = strrchr(info->dlpi_name, '/');
    file = file ? file + 1 : info->dlpi_name;
    if (!strncmp(file, "libc.so", 7) || !strncmp(file, "libc-", 5) || !strncmp(file, "ld-", 3) ||
        !strncmp(file, "libpthread", 10) || !strncmp(file, "linux-vdso", 10) || strstr(file, "san.so"))
        return 1;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        ElfW(Addr) start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
        if (info->dlpi_phdr[i].p_type == PT_LOAD && (ElfW(Addr))patch_table >= start &&
            (ElfW(Addr))patch_table < start + info->dlpi_phdr[i].p_memsz)
            return 1;
    }
    return 0;
}

static int patch_library(struct dl_phdr_info *info, size_t Py_UNUSED(size), void *Py_UNUSED(data)) {
    Library library = {info->dlpi_addr, 0, 0, NULL, NULL};
    const ElfW(Dyn) *dynamic = NULL;
    const ElfW(Rela) *calls = NULL, *others = NULL;
    size_t calls_size = 0, others_size = 0;
    if (is_ours_or_libc(info)) return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type == PT_DYNAMIC) dynamic = (const ElfW(Dyn) *)(library.base + header->p_vaddr);
        if (header->p_type == PT_GNU_RELRO) {
            library.relro_start = library.base + header->p_vaddr;
            library.relro_end = library.relro_start + header->p_memsz;
        }
    }
    for (; dynamic && dynamic->d_tag != DT_NULL; dynamic++) {
        ElfW(Addr) address = dynamic->d_un.d_ptr; /* glibc has already added the base to it */
        if (dynamic->d_tag == DT_SYMTAB) library.symbols = (const ElfW(Sym) *)address;
        if (dynamic->d_tag == DT_STRTAB) library.names = (const char *)address;
        if (dynamic->d_tag == DT_JMPREL) calls = (const ElfW(Rela) *)address;
        if (dynamic->d_tag == DT_PLTRELSZ) calls_size = dynamic->d_un.d_val;
        if (dynamic->d_tag == DT_RELA) others = (const ElfW(Rela) *)address;
        if (dynamic->d_tag == DT_RELASZ) others_size = dynamic->d_un.d_val;
        if (dynamic->d_tag == DT_PLTREL && dynamic->d_un.d_val != DT_RELA) return 0;
    }
    if ((ElfW(Addr))library.symbols < library.base || library.names == NULL) return 0; /* the vDSO, or not relocated */
    if (calls) patch_table(&library, calls, calls_size);
    if (others) patch_table(&library, others, others_size);
    return 0;
}

static int count_loads(struct dl_phdr_info *info, size_t Py_UNUSED(size), void *loads) {
    *(unsigned long long *)loads = info->dlpi_adds;
    return 1;
}

/* Point the slots of every library loaded now at our functions; returns 1, and does nothing when none was added since. */
int metercast_intercept(void) {
    static unsigned long long known;
    static int is_intercepting;
    unsigned long long loads = 0;
    dl_iterate_phdr(count_loads, &loads);
    metercast_watch_forks();
    if (is_intercepting && loads == known) return 1;
    known = loads;
    is_intercepting = 1;
    dl_iterate_phdr(patch_library, NULL);
    return 1;
}

#else /* elsewhere the hooks of Python serve */

int metercast_intercept(void) { return 0; }

#endif
