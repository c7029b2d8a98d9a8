/* How a failure in C becomes an exception in JavaScript. */
#ifndef NAT64D_ERROR_H
#define NAT64D_ERROR_H

#include <node_api.h>
#include <stdbool.h>

/* True where `status` is napi_ok. Otherwise false, with an exception pending. */
bool succeeded(napi_env env, napi_status status);

/*
 * Throws the Error of a failed system call: `code`, `errno` (positive) and `syscall` as properties, and a message that
 * ends in "(syscall: CODE)". With no format the message is the system's own text for the error.
 */
void throw_system_error(napi_env env, int error, const char *syscall, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Throws what read, write and ioctl on a queue's descriptor have in common: it is closed, or its device is gone. */
void throw_queue_error(napi_env env, int error, const char *syscall, int fd);

/* The same of a socket's. */
void throw_socket_error(napi_env env, int error, const char *syscall, int fd);

void throw_type_error(napi_env env, const char *format, ...) __attribute__((format(printf, 2, 3)));
void throw_range_error(napi_env env, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
