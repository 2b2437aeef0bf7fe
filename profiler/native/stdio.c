/* C's own files: stdio calls the kernel from inside libc, where no slot is. What crossed to the kernel follows from what
 * the program handed over and what the buffer of the file held before and after; glibc shows both in `struct _IO_FILE`.
 */
#define _GNU_SOURCE
#include "libc_calls.h"

#ifdef METERCAST_INTERCEPTS
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Bytes in the buffer that were read ahead, and bytes that wait to be written. */
typedef struct {
    int64_t started_ns, ahead, waiting, offset, filled;
} Before;

static int64_t ahead(FILE *file) { return file->_IO_read_end - file->_IO_read_ptr; }
static int64_t waiting(FILE *file) { return file->_IO_write_ptr - file->_IO_write_base; }

static Before look(FILE *file) {
    int64_t started_ns = metercast_call_starts(fileno(file));
    if (started_ns == 0) return (Before){0};
    flockfile(file);
    return (Before){started_ns, ahead(file), waiting(file), file->_offset, file->_IO_read_end - file->_IO_buf_base};
}

/* `got` and `given`: bytes that the program took from the file and handed to it. */
static void count(FILE *file, Before before, int64_t got, int64_t given) {
    if (before.started_ns == 0) return;
    int descriptor = fileno(file);
    int64_t read = got + ahead(file) - before.ahead, written = given + before.waiting - waiting(file);
    funlockfile(file);
    if (descriptor < 0) return; /* a file in memory */
    if (read > 0 && got > 0) metercast_count(descriptor, 0, before.started_ns, read);
    if (written > 0) metercast_count(descriptor, 1, before.started_ns, written);
}

static size_t counted_fread(void *b, size_t each, size_t n, FILE *file) {
    Before before = look(file);
    size_t size = fread(b, 1, each * n, file); /* glibc does the same, and counts whole items afterwards */
    count(file, before, (int64_t)size, 0);
    return each ? size == each * n ? n : size / each : 0;
}

static size_t counted_fwrite(const void *b, size_t each, size_t n, FILE *file) {
    Before before = look(file);
    size_t size = fwrite(b, 1, each * n, file);
    count(file, before, 0, (int64_t)size);
    return each ? size == each * n ? n : size / each : 0;
}

static int counted_fputs(const char *text, FILE *file) {
    Before before = look(file);
    int result = fputs(text, file);
    count(file, before, 0, result < 0 ? 0 : (int64_t)strlen(text));
    return result;
}

static int counted_vfprintf(FILE *file, const char *format, va_list arguments) {
    Before before = look(file);
    int size = vfprintf(file, format, arguments);
    count(file, before, 0, size < 0 ? 0 : size);
    return size;
}

static int counted_fprintf(FILE *file, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int size = counted_vfprintf(file, format, arguments);
    va_end(arguments);
    return size;
}

/* The fortified forms check for %n in memory that can be written; the plain ones do the same work. */
static int counted___vfprintf_chk(FILE *file, int Py_UNUSED(flag), const char *format, va_list arguments) {
    return counted_vfprintf(file, format, arguments);
}

static int counted___fprintf_chk(FILE *file, int Py_UNUSED(flag), const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int size = counted_vfprintf(file, format, arguments);
    va_end(arguments);
    return size;
}

static char *counted_fgets(char *b, int n, FILE *file) {
    Before before = look(file);
    char *line = fgets(b, n, file);
    count(file, before, line ? (int64_t)strlen(line) : 0, 0);
    return line;
}

static ssize_t counted_getdelim(char **line, size_t *n, int delimiter, FILE *file) {
    Before before = look(file);
    ssize_t size = getdelim(line, n, delimiter, file);
    count(file, before, size < 0 ? 0 : size, 0);
    return size;
}

static ssize_t counted_getline(char **line, size_t *n, FILE *file) { return counted_getdelim(line, n, '\n', file); }

static int counted_fgetc(FILE *file) {
    Before before = look(file);
    int letter = fgetc(file);
    count(file, before, letter != EOF, 0);
    return letter;
}

static int counted_fputc(int letter, FILE *file) {
    Before before = look(file);
    int result = fputc(letter, file);
    count(file, before, 0, result != EOF);
    return result;
}

static int counted_fflush(FILE *file) {
    if (file == NULL) return fflush(NULL);
    Before before = look(file);
    int result = fflush(file);
    count(file, before, 0, 0);
    return result;
}

/* Seeking out of the buffer writes what waits and reads the block anew. */
static void count_seek(FILE *file, Before before) {
    if (before.started_ns == 0) return;
    int64_t filled = file->_IO_read_end - file->_IO_buf_base;
    int is_filled_anew = filled > 0 && (filled != before.filled || file->_offset != before.offset);
    int64_t read = is_filled_anew && file->_IO_read_end > file->_IO_read_base ? filled : 0;
    int descriptor = fileno(file);
    count(file, before, 0, 0);
    if (read > 0 && descriptor >= 0) metercast_count(descriptor, 0, elapsed_clock(), read);
}

static int counted_fseek(FILE *file, long offset, int whence) {
    Before before = look(file);
    int result = fseek(file, offset, whence);
    count_seek(file, before);
    return result;
}

static int counted_fseeko(FILE *file, off_t offset, int whence) {
    Before before = look(file);
    int result = fseeko(file, offset, whence);
    count_seek(file, before);
    return result;
}

static void counted_rewind(FILE *file) {
    Before before = look(file);
    rewind(file);
    count_seek(file, before);
}

static int counted_fclose(FILE *file) {
    int descriptor = fileno(file);
    Before before = look(file);
    if (before.started_ns) funlockfile(file);
    if (before.waiting > 0 && fflush(file) == 0 && before.started_ns && descriptor >= 0)
        metercast_count(descriptor, 1, before.started_ns, before.waiting);
    metercast_forget(descriptor);
    return fclose(file);
}

#define ROW(name) {#name, (void *)counted_##name}
const Replacement metercast_stdio[] = {
    ROW(fread), ROW(fwrite), ROW(fputs), ROW(fprintf), ROW(vfprintf), ROW(__fprintf_chk), ROW(__vfprintf_chk),
    ROW(fgets), ROW(getline), ROW(getdelim), ROW(fgetc), ROW(fputc), ROW(fflush), ROW(fseek), ROW(fseeko), ROW(rewind),
    ROW(fclose), {"fseeko64", (void *)counted_fseeko}, {"__getdelim", (void *)counted_getdelim},
    {"getc", (void *)counted_fgetc}, {"_IO_getc", (void *)counted_fgetc}, {"putc", (void *)counted_fputc},
    {"_IO_putc", (void *)counted_fputc}, {NULL, NULL},
};

#endif
