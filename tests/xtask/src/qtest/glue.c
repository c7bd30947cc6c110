/*
 * What the test programs need of QEMU's own process and do not use: messages go to stderr, there is no monitor, and no
 * pSeries machine is started.
 */
#include <stdarg.h>
#include <stdio.h>

static void say(const char *format, va_list list)
{
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
}

void error_report(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    say(format, list);
    va_end(list);
}

void warn_report(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    say(format, list);
    va_end(list);
}

int error_printf(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int length = vfprintf(stderr, format, list);
    va_end(list);
    return length;
}

int monitor_fdset_dup_fd_add(long long set, int flags)
{
    return -1;
}

long long monitor_fdset_dup_fd_find(int fd)
{
    return -1;
}

void monitor_fdset_dup_fd_remove(int fd)
{
}

void *qtest_spapr_boot(const char *format, ...)
{
    return NULL;
}
