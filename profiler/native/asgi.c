/* Hooks around ASGI applications and their routes: what metercast/hooks/asgi.py does, for this engine. */
#include "asgi.h"
#include "structmember.h"
#include <string.h>

AsgiTexts asgi_texts;

/* 1: a request that nobody has opened an operation for; 0, or -1 with an error. */
static int is_to_meter(Hook *self, PyObject *scope) {
    if (!self->engine->recording.is_on || !PyDict_CheckExact(scope)) return 0;
    PyObject *kind = PyDict_GetItemWithError(scope, asgi_texts.type);
    if (kind == NULL || !PyUnicode_Check(kind)) return PyErr_Occurred() ? -1 : 0;
    if (PyUnicode_CompareWithASCIIString(kind, "http") != 0 && PyUnicode_CompareWithASCIIString(kind, "websocket") != 0)
        return 0;
    int is_marked = PyDict_Contains(scope, asgi_texts.mark);
    return is_marked < 0 ? -1 : !is_marked;
}

static PyObject *call_metered(PyObject *callable, PyObject *const *args, size_t count, PyObject *names) {
    Hook *self = (Hook *)callable;
    if (PyVectorcall_NARGS(count) != 4 || names != NULL) return PyObject_Vectorcall(self->otherwise, args, count, names);
    int wanted = is_to_meter(self, args[1]);
    if (wanted < 1) return wanted < 0 ? NULL : PyObject_Vectorcall(self->original, args, count, names);
    Request *request = PyObject_GC_New(Request, &RequestType);
    if (request == NULL) return NULL;
    memset((char *)request + sizeof(PyObject), 0, sizeof(Request) - sizeof(PyObject));
    request->hook = (Hook *)Py_NewRef(self);
    request->application = Py_NewRef(args[0]);
    request->scope = Py_NewRef(args[1]);
    request->receive = Py_NewRef(args[2]);
    request->send = Py_NewRef(args[3]);
    PyObject_GC_Track(request);
    return (PyObject *)request;
}

/* The operation of a request is named by the route that handles it; an error here is not the program's. */
static void name_by_route(Hook *self, PyObject *route, PyObject *scope) {
    Execution *execution = current_execution(self->engine);
    PyObject *method = execution && !execution->is_root ? PyDict_GetItemWithError(scope, asgi_texts.mark) : NULL;
    if (method == NULL) return;
    PyObject *above = PyDict_GetItemWithError(scope, asgi_texts.root_path), *path = PyObject_GetAttr(route, asgi_texts.path), *name;
    if (path == NULL || !PyUnicode_Check(path)) {
        Py_XDECREF(path);
        return;
    }
    if (above == NULL || !PyUnicode_Check(above) || PyUnicode_GET_LENGTH(above) == 0) {
        name = name_of_route(path, method);
    } else {
        PyObject *prefix = PyObject_CallOneArg(self->route_of_path, above);
        name = prefix ? PyUnicode_FromFormat("%S %S%S", method, prefix, path) : NULL;
        Py_XDECREF(prefix);
    }
    Py_DECREF(path);
    if (name) execution_name(execution, name);
    Py_XDECREF(name);
}

static PyObject *call_named(PyObject *callable, PyObject *const *args, size_t count, PyObject *names) {
    Hook *self = (Hook *)callable;
    if (PyVectorcall_NARGS(count) >= 2 && PyDict_CheckExact(args[1])) {
        name_by_route(self, args[0], args[1]);
        PyErr_Clear();
    }
    return PyObject_Vectorcall(self->original, args, count, names);
}

static int make_texts(void) {
    if (asgi_texts.names_of_routes != NULL) return 1;
    asgi_texts.mark = PyUnicode_InternFromString("metercast");
    asgi_texts.type = PyUnicode_InternFromString("type");
    asgi_texts.method = PyUnicode_InternFromString("method");
    asgi_texts.headers = PyUnicode_InternFromString("headers");
    asgi_texts.path = PyUnicode_InternFromString("path");
    asgi_texts.root_path = PyUnicode_InternFromString("root_path");
    asgi_texts.websocket = PyUnicode_InternFromString("WEBSOCKET");
    asgi_texts.names_of_routes = PyDict_New();
    return asgi_texts.mark && asgi_texts.type && asgi_texts.method && asgi_texts.headers && asgi_texts.path && asgi_texts.root_path && asgi_texts.websocket &&
           asgi_texts.names_of_routes;
}

static PyObject *hook_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    PyObject *engine, *original, *route_of_path, *otherwise = NULL, *headers = NULL;
    if (!PyArg_ParseTuple(args, "O!OO|OO!:Hook", &EngineType, &engine, &original, &route_of_path, &otherwise,
                          &PyTuple_Type, &headers))
        return NULL;
    for (Py_ssize_t i = 0; headers && i < PyTuple_GET_SIZE(headers); i++) {
        if (PyBytes_Check(PyTuple_GET_ITEM(headers, i))) continue;
        PyErr_Format(PyExc_TypeError, "Hook: a header is named in bytes, not %R", PyTuple_GET_ITEM(headers, i));
        return NULL;
    }
    Hook *self = make_texts() ? (Hook *)type->tp_alloc(type, 0) : NULL;
    if (self == NULL) return NULL;
    self->engine = (Engine *)Py_NewRef(engine);
    self->original = Py_NewRef(original);
    self->route_of_path = Py_NewRef(route_of_path);
    self->otherwise = Py_XNewRef(otherwise);
    self->headers = Py_XNewRef(headers);
    self->call = headers ? call_metered : call_named;
    return (PyObject *)self;
}

static void hook_dealloc(Hook *self) {
    Py_XDECREF(self->engine);
    Py_XDECREF(self->original);
    Py_XDECREF(self->route_of_path);
    Py_XDECREF(self->otherwise);
    Py_XDECREF(self->headers);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

/* What it does not have itself it has from the original, so that it is taken for a coroutine function as that is. */
static PyObject *hook_attribute(PyObject *self, PyObject *name) {
    PyObject *value = PyObject_GenericGetAttr(self, name);
    if (value != NULL || !PyErr_ExceptionMatches(PyExc_AttributeError)) return value;
    PyErr_Clear();
    return PyObject_GetAttr(((Hook *)self)->original, name);
}

static PyObject *hook_bind(PyObject *self, PyObject *object, PyObject *Py_UNUSED(type)) {
    return object == NULL || object == Py_None ? Py_NewRef(self) : PyMethod_New(self, object);
}

static PyMemberDef hook_members[] = {
    {"__wrapped__", T_OBJECT_EX, offsetof(Hook, original), READONLY, NULL},
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Hook, call), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyTypeObject HookType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "metercast._engine.Hook",
    .tp_doc = "Hook(engine, original, route_of_path[, otherwise, headers]): with headers, the call of an ASGI "
              "application, whose requests are operations; without, what handles a route, which names them.",
    .tp_basicsize = sizeof(Hook),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR,
    .tp_new = hook_new,
    .tp_call = PyVectorcall_Call,
    .tp_vectorcall_offset = offsetof(Hook, call),
    .tp_getattro = hook_attribute,
    .tp_descr_get = hook_bind,
    .tp_dealloc = (destructor)hook_dealloc,
    .tp_members = hook_members,
};
