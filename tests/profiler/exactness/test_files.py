"""Files, pipes and devices: what is billed is what the kernel counted for the thread, to the byte, case by case."""

from __future__ import annotations

import shutil
import subprocess

import pytest

CASES = """
import array, asyncio, csv, gzip, io, json, linecache, logging, os, pathlib, pickle, shelve, shutil, subprocess, sys
import tarfile, tempfile, _multiprocessing
import multiprocessing.connection, zipfile, contextlib, fileinput, _posixsubprocess
DATA = bytes(range(256)) * 300
pathlib.Path("given").write_bytes(DATA)
pathlib.Path("lines").write_text("zażółć gęślą jaźń\\n" * 2000, encoding="utf-8")

def open_binary():
    with open("a", "wb") as file:
        for _ in range(1000): file.write(b"12345")
    with open("a", "rb") as file:
        assert sum(map(len, iter(lambda: file.read(777), b""))) == 5000
def open_raw():
    with open("b", "wb", buffering=0) as file: file.write(DATA); file.write(b"x")
    with open("b", "rb", buffering=0) as file:
        buffer = bytearray(1000)
        file.readinto(buffer); file.read(17); file.readall()
def open_text():
    with open("c", "w", encoding="utf-16") as file: file.writelines("żółw\\n" * 999)
    with open("c", encoding="utf-16") as file:
        file.readline(); file.read(100); assert sum(1 for _ in file)
def open_random():
    with open("d", "w+b") as file:
        file.write(DATA); file.seek(1000); file.read(50); file.seek(-10, 2); file.write(b"end"); file.flush()
        file.truncate(500); file.seek(0); file.peek(); file.readinto1(bytearray(64)); file.readline()
def open_append():
    for _ in range(3):
        with open("e", "a") as file: print("a line", 1, file=file, flush=True)
def line_buffered():
    with open("f", "w", buffering=1) as file:
        for n in range(50): file.write(f"{n}\\n")
def descriptors():
    fd = os.open("g", os.O_RDWR | os.O_CREAT)
    os.write(fd, DATA); os.pwrite(fd, b"y" * 23, 777); os.writev(fd, [b"1", b"22", array.array("i", [1, 2, 3])])
    os.pwritev(fd, [b"4444", b"55555"], 3)
    os.lseek(fd, 0, 0)
    os.read(fd, 100); os.pread(fd, 200, 10)
    os.readv(fd, [bytearray(10), bytearray(20)]); os.preadv(fd, [bytearray(300)], 5)
    os.close(fd)
def fdopen():
    with os.fdopen(os.open("h", os.O_WRONLY | os.O_CREAT), "w") as file: file.write("text" * 100)
    with open(os.open("h", os.O_RDONLY)) as file: file.read()
def opener():
    with open("given", "rb", opener=lambda name, flags: os.open(name, flags)) as file: file.read()
def failing():
    with contextlib.suppress(BlockingIOError):
        read, write = os.pipe(); os.set_blocking(read, False); os.read(read, 10)
    with contextlib.suppress(OSError): os.write(read, b"not for writing")
    with contextlib.suppress(OSError), open("/dev/full", "wb", 0) as full: full.write(b"no room")
    os.close(read); os.close(write)
def paths():
    pathlib.Path("i").write_text("x" * 5000); pathlib.Path("i").read_text()
    pathlib.Path("i").write_bytes(DATA); pathlib.Path("i").read_bytes()
    with pathlib.Path("i").open("ab") as file: file.write(b"more")
def copies():
    shutil.copyfile("given", "j"); shutil.copy2("given", "k"); shutil.copyfileobj(open("given", "rb"), open("l", "wb"))
def copytree():
    os.makedirs("tree/sub"); pathlib.Path("tree/sub/x").write_bytes(DATA); shutil.copytree("tree", "tree2")
def sendfile():
    source, target = os.open("given", os.O_RDONLY), os.open("m", os.O_WRONLY | os.O_CREAT)
    os.sendfile(target, source, 0, 5000); os.sendfile(target, source, offset=10, count=99)
    os.close(source); os.close(target)
def copy_file_range():
    source, target = os.open("given", os.O_RDONLY), os.open("n", os.O_WRONLY | os.O_CREAT)
    os.copy_file_range(source, target, 4000); os.copy_file_range(src=source, dst=target, count=321)
    os.close(source); os.close(target)
def duplicated():
    fd = os.open("o", os.O_WRONLY | os.O_CREAT); twin = os.dup(fd); read, write = os.pipe()
    os.write(twin, b"x" * 10); os.dup2(write, twin); os.write(twin, b"y" * 7); os.read(read, 100); os.dup2(fd, twin)
    os.write(twin, b"z" * 5)
    for one in (fd, twin, read, write): os.close(one)
def compressed():
    with gzip.open("p.gz", "wb") as file: file.write(DATA)
    with gzip.open("p.gz") as file: file.read()
def archives():
    with zipfile.ZipFile("q.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write("given"); archive.writestr("x", "y" * 999)
    with zipfile.ZipFile("q.zip") as archive: archive.extractall("unzipped")
    with tarfile.open("r.tgz", "w:gz") as archive: archive.addfile(tarfile.TarInfo("given"))
    with tarfile.open("r.tgz") as archive: archive.getmember("given")
def temporary():
    with tempfile.TemporaryFile() as file: file.write(DATA); file.seek(0); file.read()
    with tempfile.NamedTemporaryFile("w") as file: file.write("x" * 100)
    with tempfile.SpooledTemporaryFile(100) as file: file.write(DATA); file.seek(0); file.read()
def formats():
    with open("s.csv", "w", newline="") as file: csv.writer(file).writerows([[1, "a"], [2, "b"]] * 500)
    with open("s.csv", newline="") as file: assert len(list(csv.reader(file))) == 1000
    with open("s.json", "w") as file: json.dump(list(range(3000)), file)
    with open("s.json") as file: json.load(file)
    with open("s.pickle", "wb") as file: pickle.dump(DATA, file)
    with open("s.pickle", "rb") as file: pickle.load(file)
def readers():
    linecache.getline("lines", 77)
    with fileinput.input("lines") as lines: sum(1 for _ in lines)
def logs():
    handler = logging.FileHandler("t.log"); handler.emit(logging.makeLogRecord({"msg": "hello"})); handler.close()
def pipes():
    assert len(subprocess.run(["cat"], input=DATA, capture_output=True).stdout) == len(DATA)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        child.stdin.write("line\\n" * 10); child.stdin.close(); assert len(child.stdout.readlines()) == 10
    assert os.popen("echo 12345").read() == "12345\\n"
def pipes_asyncio():
    async def main():
        child = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
        out, _ = await child.communicate(DATA)
        assert out == DATA
    asyncio.run(main())
def queues():
    one, two = multiprocessing.Pipe(duplex=False)
    two.send(b"x" * 1000); one.recv(); two.send_bytes(b"y" * 50); one.recv_bytes()
def fifo():
    os.mkfifo("u"); reader = os.open("u", os.O_RDONLY | os.O_NONBLOCK)
    with open("u", "wb") as file: file.write(b"f" * 333)
    with open(reader, "rb") as file: file.read()
def devices():
    with open("/dev/urandom", "rb", buffering=0) as file: file.read(64)
    with open("/dev/null", "wb") as file: file.write(b"n" * 10)
    with open("/proc/self/status") as file: file.read()
def spliced():
    if hasattr(os, "splice"):
        source, (read, write) = os.open("given", os.O_RDONLY), os.pipe()
        os.splice(source, write, 3000); os.read(read, 3000)
        for one in (source, read, write): os.close(one)
"""
NAMES = tuple(line[4:].partition("(")[0] for line in CASES.splitlines() if line.startswith("def "))


def test_files_pipes_and_devices_are_billed_what_the_kernel_counted(measured):
    """Every way of the standard library to move bytes through a descriptor."""
    run = measured(CASES, NAMES)
    assert all(read or written for name, (read, written) in run.kernel.items() if name not in ("failing",))
    assert run.differences() == {}


NUMPY = """
import numpy
numbers = numpy.arange(10_000.0)
def to_and_from_file():
    numbers.tofile("a"); assert len(numpy.fromfile("a")) == 10_000
def save_and_load():
    numpy.save("b.npy", numbers); assert numpy.load("b.npy")[-1] == 9_999
def archive():
    numpy.savez("c.npz", a=numbers, b=numbers); assert len(numpy.load("c.npz")["b"]) == 10_000
def text():
    numpy.savetxt("d.txt", numbers[:500]); assert len(numpy.loadtxt("d.txt")) == 500
"""


def test_numpy_is_billed_what_the_kernel_counted(measured):
    """Arrays as raw files, .npy, .npz and text; the Python engine does not see what NumPy does through C's files."""
    pytest.importorskip("numpy")
    run = measured(NUMPY, ("to_and_from_file", "save_and_load", "archive", "text"))
    assert run.differences(("archive", "text") if run.engine == "python" else None) == {}


LIBRARY = """
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
void stdio(void) {
    char line[300], *grown = NULL; size_t size = 0;
    FILE *file = fopen("stdio", "w+");
    for (int n = 0; n < 3000; n++) fprintf(file, "%d lines\\n", n);
    fputs("a text\\n", file); fputc('c', file); fwrite("\\n", 1, 1, file); fflush(file);
    for (int n = 0; n < 9; n++) putc('d', file);
    fseek(file, 5, SEEK_SET);
    for (int n = 0; n < 100; n++) if (!fgets(line, sizeof line, file)) abort();
    if (getline(&grown, &size, file) < 0 || getc(file) == EOF) abort();
    fseek(file, -20, SEEK_END);
    struct { int a, b; } pair;
    while (fread(&pair, sizeof pair, 1, file)) {}
    rewind(file);
    if (fread(line, 1, 299, file) != 299) abort();
    fclose(file);
    free(grown);
}
void unbuffered(void) {
    FILE *file = fopen("unbuffered", "w+");
    setvbuf(file, NULL, _IONBF, 0);
    fwrite("123456", 2, 3, file); fprintf(file, "%s", "more"); rewind(file); fgetc(file);
    fclose(file);
}
void calls(void) {
    int file = open("calls", O_RDWR | O_CREAT, 0600);
    if (write(file, "12345", 5) != 5 || pwrite(file, "1", 1, 0) != 1 || dup2(file, 99) != 99) abort();
    char text[10];
    if (pread(99, text, 10, 0) != 5) abort();
    close(file); close(99);
}
"""
FROM_C = """
import ctypes
library = ctypes.CDLL("./library.so")
def stdio(): library.stdio()
def unbuffered(): library.unbuffered()
def calls(): library.calls()
"""


def test_a_c_library_is_billed_what_the_kernel_counted(measured, tmp_path):
    """What a library loaded through ctypes does with files of C and with descriptors, from its first call on."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here")
    (tmp_path / "library.c").write_text(LIBRARY)
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "library.c", "-o", "library.so"], cwd=tmp_path, check=True)
    run = measured(FROM_C, ("stdio", "unbuffered", "calls"))
    if run.engine == "python":
        assert all(pair == (0, 0) for pair in run.billed.values())
    else:
        assert run.differences() == {}
