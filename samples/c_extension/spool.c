/* SPDX-License-Identifier: Apache-2.0
 * spool.c - an extension module of Python that keeps references to what it is given, in three ways.
 *
 *   keep(object)     in a static array
 *   enqueue(object)  in a queue of C structures on the heap, which a static variable begins
 *   hide(object)     XORed with a key: nothing that reads memory can tell that it is a reference
 *   take(n)          object number n that was kept; 4096 and more: that was hidden
 *
 * Stable ABI: one build serves every CPython from 3.8 on. */
#define Py_LIMITED_API 0x03080000
#include <Python.h>

#include <stdint.h>
#include <stdlib.h>

#define SLOTS 4096
#define KEY 0x5bd1e995a5a5a5a5ull

struct entry {
	struct entry *next;
	PyObject *object;
	unsigned attempts;
};

static PyObject *kept[SLOTS];
static size_t kept_count;
static struct entry *queue;
static uint64_t hidden[SLOTS];
static size_t hidden_count;

static PyObject *full(void)
{
	PyErr_SetString(PyExc_MemoryError, "the spool is full");
	return NULL;
}

static PyObject *keep(PyObject *self, PyObject *object)
{
	(void)self;
	if (kept_count == SLOTS)
		return full();
	Py_INCREF(object);
	kept[kept_count++] = object;
	return PyLong_FromSize_t(kept_count);
}

static PyObject *enqueue(PyObject *self, PyObject *object)
{
	struct entry *entry = malloc(sizeof(*entry));

	(void)self;
	if (!entry)
		return full();
	Py_INCREF(object);
	*entry = (struct entry){ .next = queue, .object = object };
	queue = entry;
	Py_RETURN_NONE;
}

static PyObject *hide(PyObject *self, PyObject *object)
{
	(void)self;
	if (hidden_count == SLOTS)
		return full();
	Py_INCREF(object);
	hidden[hidden_count++] = (uint64_t)(uintptr_t)object ^ KEY;
	return PyLong_FromSize_t(hidden_count);
}

static PyObject *take(PyObject *self, PyObject *number)
{
	size_t n = PyLong_AsSize_t(number);
	PyObject *object = n < kept_count ? kept[n] : NULL;

	(void)self;
	if (n >= SLOTS && n - SLOTS < hidden_count)
		object = (PyObject *)(uintptr_t)(hidden[n - SLOTS] ^ KEY);
	if (!object && !PyErr_Occurred())
		PyErr_SetString(PyExc_IndexError, "no such object");
	Py_XINCREF(object);
	return object;
}

static PyMethodDef methods[] = {
	{ "keep", keep, METH_O, NULL },
	{ "enqueue", enqueue, METH_O, NULL },
	{ "hide", hide, METH_O, NULL },
	{ "take", take, METH_O, NULL },
	{ NULL, NULL, 0, NULL },
};

static struct PyModuleDef module = { PyModuleDef_HEAD_INIT, "spool", NULL, -1, methods, NULL, NULL, NULL, NULL };

PyMODINIT_FUNC PyInit_spool(void)
{
	return PyModule_Create(&module);
}
