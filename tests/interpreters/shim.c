/*
 * Preloaded, makes an ordinary `python` of a program that has libpython in it, exports
 * Py_BytesMain, and has a main of its own that does something else. Other programs, such as its
 * children, run as they are. Built with -nostdlib, it serves glibc and musl alike.
 */
#define _GNU_SOURCE
#include <dlfcn.h>

typedef int (*main_function)(int, char **, char **);
typedef int (*start_function)(main_function, int, char **, void (*)(void), void (*)(void),
                              void (*)(void), void *);
typedef int (*python_function)(int, char **);

static python_function python;

static int run_python(int argc, char **argv, char **envp)
{
    (void)envp;
    return python(argc, argv);
}

int __libc_start_main(main_function program, int argc, char **argv, void (*init)(void),
                      void (*fini)(void), void (*rtld_fini)(void), void *stack_end)
{
    start_function start = (start_function)dlsym(RTLD_NEXT, "__libc_start_main");

    python = (python_function)dlsym(RTLD_DEFAULT, "Py_BytesMain");
    return start(python ? run_python : program, argc, argv, init, fini, rtld_fini, stack_end);
}
