/* The only file that knows Python: texts in, numbers out. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "memo.h"
#include "prefix_chain.h"
#include "text_batch.h"
#include "unicode.h"

#define MOST_ENCODERS 8u
#define CACHE_BOUND ((size_t)64 << 20)
#define SMALL_CACHE ((size_t)1 << 20) /* of the encoders beyond the bound */
#define RELEASE_BYTES 16384           /* from here on giving up the GIL costs less than holding it */

#define MEMO_BYTES ((size_t)4 << 20)

struct module_state {
    PyTypeObject *vocabulary_type;
    uint64_t seed[4]; /* secret of this process */
};

typedef struct {
    PyObject_HEAD
    Py_buffer block; /* the compiled vocabulary; held as long as the object lives */
    struct vocabulary vocabulary;
    const struct kernel *kernel;
    size_t cache_bytes;       /* of one encoder; 0: what fits the vocabulary */
    struct encoder *idle[MOST_ENCODERS]; /* encoders nobody works with; they and `live` are guarded by the GIL */
    struct memo memo;                    /* guarded by the GIL */
    unsigned live, most;                 /* encoders of full size: how many there are, may be */
} VocabularyObject;

/* A text to look at while `owner` lives. */
struct text {
    struct source_text source;
    PyObject *owner;
};

static void text_close(struct text *text)
{
    Py_CLEAR(text->owner);
}

/* Open a str or bytes-like object; bytes that are not UTF-8 read as U+FFFD. 0, or -1 with an exception. Needs the GIL. */
static int text_open(struct text *text, PyObject *object)
{
    if (PyUnicode_Check(object)) {
        text->owner = Py_NewRef(object);
    } else if (PyObject_CheckBuffer(object)) {
        Py_buffer view;
        text->owner = NULL;
        if (PyObject_GetBuffer(object, &view, PyBUF_SIMPLE))
            return -1;
        text->owner = PyUnicode_DecodeUTF8(view.buf, view.len, "replace");
        PyBuffer_Release(&view);
        if (!text->owner)
            return -1;
    } else {
        PyErr_Format(PyExc_TypeError, "text must be str or bytes, not %.100s", Py_TYPE(object)->tp_name);
        return -1;
    }
    text->source.characters = PyUnicode_DATA(text->owner);
    text->source.width = PyUnicode_IS_ASCII(text->owner) ? 0 : (unsigned)PyUnicode_KIND(text->owner);
    text->source.length = (size_t)PyUnicode_GET_LENGTH(text->owner);
    return 0;
}

/* An encoder to work with, NULL with an exception. Needs the GIL. */
static struct encoder *take_encoder(VocabularyObject *self)
{
    for (unsigned at = 0; at < MOST_ENCODERS; at++) {
        struct encoder *encoder = self->idle[at];
        if (encoder) {
            self->idle[at] = NULL;
            return encoder;
        }
    }
    int full = self->live < self->most;
    struct encoder *encoder = encoder_create(&self->vocabulary, self->kernel, full ? self->cache_bytes : SMALL_CACHE);
    if (!encoder)
        PyErr_NoMemory();
    else if (full)
        self->live++;
    if (encoder)
        encoder->is_small = !full;
    return encoder;
}

/* Give an encoder back. Needs the GIL. */
static void give_encoder(VocabularyObject *self, struct encoder *encoder)
{
    for (unsigned at = 0; encoder && !encoder->is_small && at < MOST_ENCODERS; at++) {
        if (!self->idle[at]) {
            self->idle[at] = encoder;
            return;
        }
    }
    encoder_destroy(encoder);
}

static PyObject *set_failure(void)
{
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_MemoryError, "memory is short, or two GiB of text hold no place to cut");
    return NULL;
}

/* Count one text; SIZE_MAX with an exception. Needs the GIL and gives it up for long texts. */
static size_t count_object(VocabularyObject *self, PyObject *object, size_t limit)
{
    struct text text;
    if (text_open(&text, object))
        return SIZE_MAX;
    size_t count = SIZE_MAX;
    struct encoder *encoder = take_encoder(self);
    if (encoder && text.source.length < RELEASE_BYTES) {
        count = count_source(encoder, &self->vocabulary, text.source, limit);
    } else if (encoder) {
        Py_BEGIN_ALLOW_THREADS
        count = count_source(encoder, &self->vocabulary, text.source, limit);
        Py_END_ALLOW_THREADS
    }
    give_encoder(self, encoder);
    text_close(&text);
    if (count == SIZE_MAX)
        set_failure();
    return count;
}

static PyObject *vocabulary_count(VocabularyObject *self, PyObject *object)
{
    size_t count = count_object(self, object, SIZE_MAX - 1);
    return count == SIZE_MAX ? NULL : PyLong_FromSize_t(count);
}

/* count_remembered(text) -> int; holds the GIL, since the memo is shared. */
static PyObject *vocabulary_count_remembered(VocabularyObject *self, PyObject *object)
{
    struct text text;
    if (memo_reserve(&self->memo, MEMO_BYTES))
        return PyErr_NoMemory();
    if (text_open(&text, object))
        return NULL;
    struct encoder *encoder = take_encoder(self);
    size_t count = SIZE_MAX;
    if (encoder)
        count = count_remembered(&self->memo, encoder, &self->vocabulary, text.source);
    give_encoder(self, encoder);
    text_close(&text);
    return count == SIZE_MAX ? set_failure() : PyLong_FromSize_t(count);
}

/* count_till_limit(text, limit) -> int | None */
static PyObject *vocabulary_count_till_limit(VocabularyObject *self, PyObject *args)
{
    PyObject *object;
    Py_ssize_t limit;
    if (!PyArg_ParseTuple(args, "On", &object, &limit))
        return NULL;
    if (limit < 0)
        Py_RETURN_NONE;
    size_t count = count_object(self, object, (size_t)limit);
    if (count == SIZE_MAX)
        return NULL;
    if (count > (size_t)limit)
        Py_RETURN_NONE;
    return PyLong_FromSize_t(count);
}

static PyObject *list_of_counts(const size_t *counts, Py_ssize_t length)
{
    PyObject *list = PyList_New(length);
    for (Py_ssize_t at = 0; list && at < length; at++) {
        PyObject *number = counts[at] == SIZE_MAX ? set_failure() : PyLong_FromSize_t(counts[at]);
        if (number)
            PyList_SET_ITEM(list, at, number);
        else
            Py_CLEAR(list);
    }
    return list;
}

/* count_batch(texts, threads=1) -> list of int */
static PyObject *vocabulary_count_batch(VocabularyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"texts", "threads", NULL};
    PyObject *objects, *result = NULL;
    unsigned int threads = 1, taken = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|I", names, &objects, &threads))
        return NULL;
    PyObject *sequence = PySequence_Tuple(objects); /* a list could change while the GIL is away */
    if (!sequence)
        return NULL;
    Py_ssize_t length = PyTuple_GET_SIZE(sequence), opened = 0;
    size_t most = ((size_t)length + 15) / 16;
    threads = threads < 1 ? 1 : threads > 64 ? 64 : threads;
    threads = threads > most && most ? (unsigned)most : threads;
    struct encoder *encoders[64] = {NULL};
    struct text *texts = PyMem_Calloc((size_t)length + 1, sizeof *texts);
    struct source_text *sources = PyMem_Calloc((size_t)length + 1, sizeof *sources);
    size_t *counts = PyMem_Calloc((size_t)length + 1, sizeof *counts);
    if (!texts || !sources || !counts) {
        PyErr_NoMemory();
        goto error;
    }
    for (; opened < length; opened++) {
        if (text_open(&texts[opened], PyTuple_GET_ITEM(sequence, opened)))
            goto error;
        sources[opened] = texts[opened].source;
    }
    for (; taken < threads; taken++)
        if (!(encoders[taken] = take_encoder(self)))
            goto error;
    Py_BEGIN_ALLOW_THREADS
    count_texts(&self->vocabulary, encoders, threads, sources, (size_t)length, counts);
    Py_END_ALLOW_THREADS
    result = list_of_counts(counts, length);
error:
    while (taken)
        give_encoder(self, encoders[--taken]);
    while (opened)
        text_close(&texts[--opened]);
    PyMem_Free(texts);
    PyMem_Free(sources);
    PyMem_Free(counts);
    Py_DECREF(sequence);
    return result;
}

/* Encode one text into a sink; SIZE_MAX with an exception. Needs the GIL and gives it up for long texts. */
static size_t encode_object(VocabularyObject *self, struct encoder *encoder, PyObject *object, id_sink sink, void *state)
{
    struct text text;
    size_t count;
    if (text_open(&text, object))
        return SIZE_MAX;
    if (text.source.length < RELEASE_BYTES) {
        count = encode_source(encoder, &self->vocabulary, text.source, sink, state);
    } else {
        Py_BEGIN_ALLOW_THREADS
        count = encode_source(encoder, &self->vocabulary, text.source, sink, state);
        Py_END_ALLOW_THREADS
    }
    text_close(&text);
    if (count == SIZE_MAX)
        set_failure();
    return count;
}

struct id_array {
    uint32_t *ids; /* owned */
    size_t count, capacity;
};

static int append_to_array(void *state, const uint32_t *ids, size_t count)
{
    struct id_array *array = state;
    if (array->count + count > array->capacity) {
        size_t capacity = 2 * array->capacity + count;
        uint32_t *grown = realloc(array->ids, capacity * sizeof *grown);
        if (!grown)
            return -1;
        array->ids = grown;
        array->capacity = capacity;
    }
    memcpy(array->ids + array->count, ids, count * sizeof *ids);
    array->count += count;
    return 0;
}

/* encode(text) -> list of int */
static PyObject *vocabulary_encode(VocabularyObject *self, PyObject *object)
{
    struct id_array array = {0};
    struct encoder *encoder = take_encoder(self);
    PyObject *list = NULL;
    if (encoder && encode_object(self, encoder, object, append_to_array, &array) != SIZE_MAX)
        list = PyList_New((Py_ssize_t)array.count);
    for (size_t at = 0; list && at < array.count; at++) {
        PyObject *number = PyLong_FromUnsignedLong(array.ids[at]);
        if (number)
            PyList_SET_ITEM(list, (Py_ssize_t)at, number);
        else
            Py_CLEAR(list);
    }
    give_encoder(self, encoder);
    free(array.ids);
    return list;
}

static int append_to_chain(void *chain, const uint32_t *ids, size_t count)
{
    return chain_append(chain, ids, count);
}

/* chain(texts, block, key, parent=0, open_ids=b"") -> (tokens, hashes, parent, open_ids): every text is encoded on its own,
 * the chain goes through all; the last two take it up again later. */
static PyObject *vocabulary_chain(VocabularyObject *self, PyObject *args)
{
    PyObject *objects, *texts = NULL, *result = NULL;
    Py_buffer key, open_ids = {0};
    unsigned int block;
    unsigned long long parent = 0;
    if (!PyArg_ParseTuple(args, "OIy*|Ky*", &objects, &block, &key, &parent, &open_ids))
        return NULL;
    struct encoder *encoder = NULL;
    struct prefix_chain chain = {0};
    size_t total = 0;
    if (!block || block > MOST_BLOCK_TOKENS || key.len != 16 || open_ids.len % 4 || (size_t)open_ids.len / 4 >= block) {
        PyErr_SetString(PyExc_ValueError, "a block holds 1 to 1,048,576 tokens, the key 16 bytes, an open block fewer than all");
        goto error;
    }
    /* a list could change while the GIL is away */
    if (!(texts = PySequence_Tuple(objects)) || !(encoder = take_encoder(self)))
        goto error;
    uint64_t words[2] = {load64(key.buf), load64((const uint8_t *)key.buf + 8)};
    if (chain_start(&chain, words, block, parent) || chain_append(&chain, open_ids.buf, (size_t)open_ids.len / 4)) {
        PyErr_NoMemory();
        goto error;
    }
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(texts); at++) {
        size_t count = encode_object(self, encoder, PyTuple_GET_ITEM(texts, at), append_to_chain, &chain);
        if (count == SIZE_MAX)
            goto error;
        total += count;
    }
    const char *hashes = chain.count ? (const char *)chain.hashes : "";
    result = Py_BuildValue("ny#Ky#", (Py_ssize_t)total, hashes, (Py_ssize_t)(8 * chain.count),
                           (unsigned long long)chain.parent, (const char *)chain.open, (Py_ssize_t)(4 * chain.filled));
error:
    chain_release(&chain);
    give_encoder(self, encoder);
    Py_XDECREF(texts);
    if (open_ids.obj)
        PyBuffer_Release(&open_ids);
    PyBuffer_Release(&key);
    return result;
}

static PyObject *vocabulary_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"block", "kernel", "cache_bytes", NULL};
    PyObject *buffer;
    const char *kernel_name = NULL;
    Py_ssize_t cache_bytes = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$zn", names, &buffer, &kernel_name, &cache_bytes))
        return NULL;
    const struct kernel *kernel = choose_kernel(kernel_name);
    if (!kernel || cache_bytes < 0) {
        PyErr_SetString(PyExc_ValueError, "this machine has no such kernel, or the cache has a negative size");
        return NULL;
    }
    VocabularyObject *self = (VocabularyObject *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    memcpy(self->memo.seed, ((struct module_state *)PyType_GetModuleState(type))->seed, sizeof self->memo.seed);
    self->kernel = kernel;
    self->cache_bytes = (size_t)cache_bytes;
    if (PyObject_GetBuffer(buffer, &self->block, PyBUF_SIMPLE))
        goto error;
    const char *problem = (uintptr_t)self->block.buf & 7 ? "not aligned"
                          : vocabulary_open(&self->vocabulary, self->block.buf, (size_t)self->block.len);
    if (!problem) {
        size_t bytes = cache_bytes ? (size_t)cache_bytes : encoder_bytes(&self->vocabulary);
        self->most = bytes < CACHE_BOUND / MOST_ENCODERS ? MOST_ENCODERS : bytes < CACHE_BOUND ? (unsigned)(CACHE_BOUND / bytes) : 1;
        return (PyObject *)self;
    }
    PyErr_SetString(PyExc_ValueError, problem);
error:
    Py_DECREF(self);
    return NULL;
}

static void vocabulary_dealloc(VocabularyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    for (unsigned at = 0; at < MOST_ENCODERS; at++)
        encoder_destroy(self->idle[at]);
    memo_release(&self->memo);
    if (self->block.obj)
        PyBuffer_Release(&self->block);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef vocabulary_methods[] = {
    {"count", (PyCFunction)vocabulary_count, METH_O, NULL},
    {"count_remembered", (PyCFunction)vocabulary_count_remembered, METH_O, NULL},
    {"count_till_limit", (PyCFunction)vocabulary_count_till_limit, METH_VARARGS, NULL},
    {"count_batch", (PyCFunction)(void (*)(void))vocabulary_count_batch, METH_VARARGS | METH_KEYWORDS, NULL},
    {"encode", (PyCFunction)vocabulary_encode, METH_O, NULL},
    {"chain", (PyCFunction)vocabulary_chain, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot vocabulary_slots[] = {
    {Py_tp_new, vocabulary_new},
    {Py_tp_dealloc, vocabulary_dealloc},
    {Py_tp_methods, vocabulary_methods},
    {Py_tp_doc, "A compiled vocabulary over a buffer."},
    {0, NULL},
};

static PyType_Spec vocabulary_spec = {
    .name = "inferometer.tokens._native.Vocabulary",
    .basicsize = sizeof(VocabularyObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = vocabulary_slots,
};

static int is_source_sound(const struct vocabulary_source *source, size_t bytes, size_t offsets, size_t merges)
{
    if (!source->tokens || source->tokens >= MAX_TOKENS || offsets != 4 * ((size_t)source->tokens + 1) ||
        (source->merges && merges != 8 * (size_t)source->tokens) || !scan_of_family(source->family) ||
        source->offsets[0] || source->offsets[source->tokens] != bytes)
        return 0;
    for (uint32_t at = 0; at < source->tokens; at++)
        if (source->offsets[at] > source->offsets[at + 1])
            return 0;
    for (uint32_t at = 0; source->merges && at < 2 * source->tokens; at++)
        if (source->merges[at] >= source->tokens && source->merges[at] != NO_TOKEN)
            return 0;
    return 1;
}

/* compile_vocabulary(bytes, offsets, ids, merges | None, family, whole_pieces, sha256) -> bytes: see vocabulary.h; offsets,
 * ids and merges are arrays of u32. */
static PyObject *module_compile(PyObject *module, PyObject *args)
{
    (void)module;
    Py_buffer bytes, offsets, ids, merges, sha256;
    unsigned int family;
    int whole_pieces;
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(args, "y*y*y*z*Ipy*", &bytes, &offsets, &ids, &merges, &family, &whole_pieces, &sha256))
        return NULL;
    struct vocabulary_source source = {
        .bytes = bytes.buf,
        .offsets = offsets.buf,
        .ids = ids.buf,
        .merges = merges.buf,
        .tokens = ids.len / 4 < (Py_ssize_t)MAX_TOKENS ? (uint32_t)(ids.len / 4) : 0,
        .family = family,
        .sha256 = sha256.buf,
        .whole_pieces = whole_pieces,
    };
    const char *problem = "the tables of the vocabulary do not fit each other";
    if (sha256.len == 32 && is_source_sound(&source, (size_t)bytes.len, (size_t)offsets.len, (size_t)merges.len)) {
        size_t size;
        uint8_t *block;
        Py_BEGIN_ALLOW_THREADS
        block = vocabulary_compile(&source, &size, &problem);
        Py_END_ALLOW_THREADS
        if (block)
            result = PyBytes_FromStringAndSize((char *)block, (Py_ssize_t)size);
        free(block);
    }
    if (!result && !PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, problem);
    PyBuffer_Release(&bytes);
    PyBuffer_Release(&offsets);
    PyBuffer_Release(&ids);
    if (merges.obj)
        PyBuffer_Release(&merges);
    PyBuffer_Release(&sha256);
    return result;
}

/* last_safe_cut(text) -> int: where a text may be cut so that both parts count as the whole does; 0 for nowhere. */
static PyObject *module_last_safe_cut(PyObject *module, PyObject *object)
{
    (void)module;
    struct text text;
    if (text_open(&text, object))
        return NULL;
    size_t cut = last_safe_cut(text.source);
    text_close(&text);
    return PyLong_FromSize_t(cut);
}

/* digest(text, before=b"") -> 16 bytes that, in this process, stand for a text after what `before` stands for. */
static PyObject *module_digest(PyObject *module, PyObject *args)
{
    struct module_state *state = PyModule_GetState(module);
    PyObject *object;
    Py_buffer before = {0};
    if (!PyArg_ParseTuple(args, "O|y*", &object, &before))
        return NULL;
    struct text text = {0};
    PyObject *result = NULL;
    uint64_t digest[2] = {0, 0};
    if (before.len && before.len != 16) {
        PyErr_SetString(PyExc_ValueError, "a digest has 16 bytes");
    } else if (!text_open(&text, object)) {
        if (before.len)
            memcpy(digest, before.buf, 16);
        digest_text(state->seed, text.source, digest);
        text_close(&text);
        result = PyBytes_FromStringAndSize((char *)digest, 16);
    }
    if (before.obj)
        PyBuffer_Release(&before);
    return result;
}

static PyMethodDef module_methods[] = {
    {"last_safe_cut", module_last_safe_cut, METH_O, NULL},
    {"digest", module_digest, METH_VARARGS, NULL},
    {"compile_vocabulary", module_compile, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

/* Fill the secret seed from os.urandom. */
static int set_seed(struct module_state *state)
{
    PyObject *os = PyImport_ImportModule("os");
    PyObject *bytes = os ? PyObject_CallMethod(os, "urandom", "n", (Py_ssize_t)sizeof state->seed) : NULL;
    if (bytes && PyBytes_Check(bytes) && PyBytes_GET_SIZE(bytes) == (Py_ssize_t)sizeof state->seed)
        memcpy(state->seed, PyBytes_AS_STRING(bytes), sizeof state->seed);
    Py_XDECREF(bytes);
    Py_XDECREF(os);
    return bytes ? 0 : -1;
}

static int module_exec(PyObject *module)
{
    struct module_state *state = PyModule_GetState(module);
    if (set_seed(state))
        return -1;
    state->vocabulary_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &vocabulary_spec, NULL);
    if (!state->vocabulary_type || PyModule_AddType(module, state->vocabulary_type))
        return -1;
    PyObject *families = PyDict_New();
    for (unsigned family = 0; families && family < SCAN_FAMILIES; family++) {
        PyObject *number = PyLong_FromLong((long)family);
        if (!number || PyDict_SetItemString(families, scan_family_name(family), number))
            Py_CLEAR(families);
        Py_XDECREF(number);
    }
    int failed = PyModule_AddObjectRef(module, "FAMILIES", families);
    Py_XDECREF(families);
    if (failed)
        return -1;
    return PyModule_AddStringConstant(module, "UNICODE_VERSION", unicode_version) ||
           PyModule_AddIntConstant(module, "FORMAT", VOCABULARY_FORMAT);
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    struct module_state *state = PyModule_GetState(module);
    Py_VISIT(state->vocabulary_type);
    return 0;
}

static int module_clear(PyObject *module)
{
    struct module_state *state = PyModule_GetState(module);
    Py_CLEAR(state->vocabulary_type);
    return 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_native",
    .m_size = sizeof(struct module_state),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&module_definition);
}
