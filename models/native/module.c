/* The module models._kernels: the compiled inner loops of forecasting by their names, and the arrays they are given. */
#include "kernels.h"

int hold(PyObject *const *from, Py_buffer *views, const Wanted *wanted, int count) {
    for (int at = 0; at < count; at++) {
        const Wanted *one = &wanted[at];
        if (PyObject_GetBuffer(from[at], &views[at], PyBUF_C_CONTIGUOUS | (one->writable ? PyBUF_WRITABLE : 0)) == 0) {
            if (views[at].itemsize == one->item_bytes && views[at].len == one->item_bytes * one->count) continue;
            PyErr_Format(PyExc_ValueError, "%s has %zd bytes in items of %zd, not %zd items of %zd", one->name,
                         views[at].len, views[at].itemsize, one->count, one->item_bytes);
            PyBuffer_Release(&views[at]);
        }
        let_go(views, at);
        return 0;
    }
    return 1;
}

void let_go(Py_buffer *views, int count) {
    while (count > 0) PyBuffer_Release(&views[--count]);
}

static PyMethodDef methods[] = {
    {"weighted_quantiles", weighted_quantiles, METH_VARARGS, "See models.weighted."},
    {"binned", binned, METH_VARARGS, "See models.weighted."},
    {"mixture", mixture, METH_VARARGS, "See models.mixing."},
    {"pinball_sums", pinball_sums, METH_VARARGS, "See models.mixing."},
    {"point_quantiles", point_quantiles, METH_VARARGS, "See models.quantiles."},
    {"tidy", tidy, METH_VARARGS, "See models.quantiles."},
    {"path_values", path_values, METH_VARARGS, "See models.paths."},
    {"chains", chains, METH_VARARGS, "See models.forecasters.markov."},
    {"normalised", normalised, METH_VARARGS, "See models.forecasters.lstm_data."},
    {"guesses", guesses, METH_VARARGS, "See models.forecasters.lstm_candidates."},
    {"on_scale", on_scale, METH_VARARGS, "See models.forecasters.gaussian_process."},
    {"add_normal", add_normal, METH_VARARGS, "See models.forecasters.gaussian_process."},
    {"standing", standing, METH_VARARGS, "See models.forecasters.markov_states."},
    {"unusual", unusual, METH_VARARGS, "See models.forecasters.markov_states."},
    {"states_of", states_of, METH_VARARGS, "See models.forecasters.markov_states."},
    {"state_chances", state_chances, METH_VARARGS, "See models.forecasters.markov."},
    {"with_regime", with_regime, METH_VARARGS, "See models.regimes."},
    {"total_quantiles", total_quantiles, METH_VARARGS, "See models.dependence."},
    {"level_opinions", level_opinions, METH_VARARGS, "See models.totals."},
    {"missed_sums", missed_sums, METH_VARARGS, "See models.past_sums."},
    {"asinh", area_of, METH_VARARGS, "See models.forecasters.lstm_inference."},
    {"unscaled", unscaled, METH_VARARGS, "See models.forecasters.lstm_inference."},
    {"gelu", gelu_of, METH_VARARGS, "See models.forecasters.lstm_inference."},
    {"lstm_cell", lstm_cell, METH_VARARGS, "See models.forecasters.lstm_inference."},
    {"quantile_heads", quantile_heads, METH_VARARGS, "See models.forecasters.lstm_inference."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    .m_base = PyModuleDef_HEAD_INIT, .m_name = "models._kernels", .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit__kernels(void) { return PyModule_Create(&module); }
