/* What the files that meter ASGI applications share. */
#ifndef METERCAST_ASGI_H
#define METERCAST_ASGI_H

#include "engine.h"

/* Texts of ASGI's scopes, made with the first hook. */
typedef struct {
    PyObject *mark, *type, *method, *headers, *path, *root_path, *websocket;
    PyObject *names_of_routes; /* dict: path of a route -> dict: method -> name of the operation */
} AsgiTexts;

extern AsgiTexts asgi_texts;

/* Stands in for a method that is called with (self, scope, receive, send). */
typedef struct {
    PyObject_HEAD
    Engine *engine;
    PyObject *original;
    PyObject *route_of_path; /* names a request that no route has named */
    PyObject *otherwise;     /* does the same for a call of another form; NULL: the original serves */
    PyObject *headers;       /* tuple of bytes, lower case: headers that name the user, in their order */
    vectorcallfunc call;
} Hook;

/* One request: an awaitable that opens an operation at its first step and closes it after its last. */
typedef struct {
    PyObject_HEAD
    Hook *hook;
    PyObject *application, *scope, *receive, *send;
    PyObject *method, *unrouted; /* from the first step on */
    PyObject *inner;             /* the application's own coroutine; NULL: not begun, or done */
    Execution *execution;
    char is_done;
} Request;

/* A new reference to a method's name with something after it; most are asked for again and again. */
PyObject *name_of_route(PyObject *path, PyObject *method);

#endif
