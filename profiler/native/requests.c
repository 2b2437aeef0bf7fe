/* Requests of ASGI applications as operations, without Python frames around the application's own. */
#include "asgi.h"
#include <string.h>

PyObject *name_of_route(PyObject *path, PyObject *method) {
    PyObject *known = PyDict_GetItemWithError(asgi_texts.names_of_routes, path);
    if (known == NULL) {
        if (PyErr_Occurred() || (known = PyDict_New()) == NULL) return NULL;
        int failed = PyDict_SetItem(asgi_texts.names_of_routes, path, known);
        Py_DECREF(known); /* the dict holds it */
        if (failed) return NULL;
    }
    PyObject *name = PyDict_GetItemWithError(known, method);
    if (name != NULL || PyErr_Occurred()) return Py_XNewRef(name);
    name = PyUnicode_FromFormat("%S %S", method, path);
    if (name != NULL && PyDict_SetItem(known, method, name) < 0) Py_CLEAR(name);
    return name;
}

static PyObject *user_of_header(PyObject *header, PyObject *wanted) {
    if (!PyTuple_Check(header) && !PyList_Check(header)) return NULL;
    PyObject **pair = PySequence_Fast_ITEMS(header);
    if (PySequence_Fast_GET_SIZE(header) != 2 || !PyBytes_Check(pair[0]) || !PyBytes_Check(pair[1])) return NULL;
    Py_ssize_t size = PyBytes_GET_SIZE(wanted);
    if (PyBytes_GET_SIZE(pair[0]) != size || PyBytes_GET_SIZE(pair[1]) == 0) return NULL;
    if (memcmp(PyBytes_AS_STRING(pair[0]), PyBytes_AS_STRING(wanted), (size_t)size) != 0) return NULL;
    return pair[1];
}

/* The user whom a request's headers name, or the empty text; NULL with an error. */
static PyObject *user_of(Hook *hook, PyObject *scope) {
    PyObject *headers = PyDict_GetItemWithError(scope, asgi_texts.headers), *value = NULL;
    PyObject *list = headers ? PySequence_Fast(headers, "the headers of an ASGI scope are no sequence") : NULL;
    if (list == NULL) return PyErr_Occurred() ? NULL : Py_NewRef(metercast_empty_text);
    for (Py_ssize_t i = 0; value == NULL && i < PyTuple_GET_SIZE(hook->headers); i++) {
        PyObject *wanted = PyTuple_GET_ITEM(hook->headers, i);
        for (Py_ssize_t n = 0; value == NULL && n < PySequence_Fast_GET_SIZE(list); n++)
            value = user_of_header(PySequence_Fast_GET_ITEM(list, n), wanted);
    }
    PyObject *user = value ? PyUnicode_DecodeLatin1(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), NULL)
                           : Py_NewRef(metercast_empty_text);
    Py_DECREF(list);
    return user;
}

static int begin(Request *self) {
    PyObject *method = PyDict_GetItemWithError(self->scope, asgi_texts.method);
    self->method = Py_NewRef(method ? method : asgi_texts.websocket);
    if (PyErr_Occurred() || PyDict_SetItem(self->scope, asgi_texts.mark, self->method) < 0) return -1;
    static PyObject *unrouted_text;
    if (unrouted_text == NULL) unrouted_text = PyUnicode_InternFromString("{unrouted}");
    self->unrouted = unrouted_text ? name_of_route(unrouted_text, self->method) : NULL;
    PyObject *user = self->unrouted ? user_of(self->hook, self->scope) : NULL;
    self->execution = user ? engine_enter(self->hook->engine, self->unrouted, user) : NULL;
    Py_XDECREF(user);
    return self->execution ? 0 : -1;
}

/* The application's coroutine, or what its awaitable is iterated by. */
static PyObject *call_application(Request *self) {
    PyObject *args[] = {self->application, self->scope, self->receive, self->send};
    PyObject *made = PyObject_Vectorcall(self->hook->original, args, 4, NULL);
    if (made == NULL || PyCoro_CheckExact(made)) return made;
    PyAsyncMethods *methods = Py_TYPE(made)->tp_as_async;
    PyObject *iterator = NULL;
    if (methods && methods->am_await)
        iterator = methods->am_await(made);
    else
        PyErr_Format(PyExc_TypeError, "object %.100s can't be used in 'await' expression", Py_TYPE(made)->tp_name);
    Py_DECREF(made);
    return iterator;
}

/* Close the operation, named by its path where no route has named it; an error that is set stays set. */
static void finish(Request *self) {
    PyObject *kind, *error, *trace;
    PyErr_Fetch(&kind, &error, &trace);
    self->is_done = 1;
    Py_CLEAR(self->inner);
    Execution *execution = self->execution;
    self->execution = NULL;
    if (execution != NULL) {
        if (execution->operation == self->unrouted) {
            PyObject *path = PyDict_GetItemWithError(self->scope, asgi_texts.path);
            PyObject *route = path ? PyObject_CallOneArg(self->hook->route_of_path, path) : NULL;
            PyObject *name = route ? PyUnicode_FromFormat("%S %S", self->method, route) : NULL;
            Py_XDECREF(route);
            if (name) execution_name(execution, name);
            Py_XDECREF(name);
        }
        engine_leave(self->hook->engine, execution);
        Py_DECREF(execution);
    }
    PyErr_Clear();
    PyErr_Restore(kind, error, trace);
}

static PySendResult request_send(PyObject *object, PyObject *value, PyObject **result) {
    Request *self = (Request *)object;
    *result = NULL;
    if (self->is_done) {
        PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
        return PYGEN_ERROR;
    }
    if (self->inner == NULL && (begin(self) < 0 || (self->inner = call_application(self)) == NULL)) {
        finish(self);
        return PYGEN_ERROR;
    }
    PyObject *inner = Py_NewRef(self->inner);
    PySendResult sent = PyIter_Send(inner, value, result);
    Py_DECREF(inner);
    if (sent != PYGEN_NEXT) finish(self);
    return sent;
}

static PyObject *sent(PySendResult how, PyObject *result) {
    if (how != PYGEN_RETURN) return result;
    PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, result); /* which keeps a result that is a tuple whole */
    if (stop) PyErr_SetObject(PyExc_StopIteration, stop);
    Py_XDECREF(stop);
    Py_DECREF(result);
    return NULL;
}

static PyObject *request_next(PyObject *self) {
    PyObject *result;
    PySendResult how = request_send(self, Py_None, &result);
    return sent(how, result);
}

static PyObject *method_send(PyObject *self, PyObject *value) {
    PyObject *result;
    PySendResult how = request_send(self, value, &result);
    return sent(how, result);
}

static PyObject *request_throw(Request *self, PyObject *args) {
    if (self->inner == NULL && !self->is_done) self->inner = call_application(self); /* raises before its first step */
    PyObject *inner = Py_XNewRef(self->inner);
    if (inner == NULL) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
        return NULL;
    }
    PyObject *throw = PyObject_GetAttrString(inner, "throw");
    PyObject *result = throw ? PyObject_Call(throw, args, NULL) : NULL;
    Py_XDECREF(throw);
    Py_DECREF(inner);
    if (result == NULL) finish(self);
    return result;
}

static PyObject *request_close(Request *self, PyObject *Py_UNUSED(ignored)) {
    PyObject *inner = Py_XNewRef(self->inner);
    PyObject *result = inner ? PyObject_CallMethod(inner, "close", NULL) : Py_NewRef(Py_None);
    Py_XDECREF(inner);
    finish(self);
    return result;
}

static PyObject *request_await(PyObject *self) { return Py_NewRef(self); }

static int request_traverse(Request *self, visitproc visit, void *arg) {
    Py_VISIT(self->hook);
    Py_VISIT(self->application);
    Py_VISIT(self->scope);
    Py_VISIT(self->receive);
    Py_VISIT(self->send);
    Py_VISIT(self->inner);
    return 0;
}

static int request_clear(Request *self) {
    Py_CLEAR(self->inner);
    Py_CLEAR(self->receive);
    Py_CLEAR(self->send);
    return 0;
}

static void request_dealloc(Request *self) {
    PyObject_GC_UnTrack(self);
    if (!self->is_done && self->execution) finish(self); /* dropped in the midst of it, which ends its coroutine */
    Py_XDECREF(self->inner);
    Py_XDECREF(self->application);
    Py_XDECREF(self->scope);
    Py_XDECREF(self->receive);
    Py_XDECREF(self->send);
    Py_XDECREF(self->method);
    Py_XDECREF(self->unrouted);
    Py_XDECREF(self->hook);
    PyObject_GC_Del(self);
}

static PyMethodDef request_methods[] = {
    {"send", method_send, METH_O, NULL},
    {"throw", (PyCFunction)request_throw, METH_VARARGS, NULL},
    {"close", (PyCFunction)request_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyAsyncMethods request_async = {.am_await = request_await, .am_send = request_send};

PyTypeObject RequestType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "metercast._engine.Request",
    .tp_doc = "A request of an ASGI application, to be awaited.",
    .tp_basicsize = sizeof(Request),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_HAVE_GC,
    .tp_traverse = (traverseproc)request_traverse,
    .tp_clear = (inquiry)request_clear,
    .tp_dealloc = (destructor)request_dealloc,
    .tp_as_async = &request_async,
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = request_next,
    .tp_methods = request_methods,
};
