/* OTLP trace requests in protobuf to raw spans, for requests that are as exporters write them.
 *
 * Whatever is not (an id of another length, a time that is out of order, a field given twice, text that is not UTF-8)
 * makes the whole request UNCLEAN: the caller then reads it with the protobuf library, which mends, counts or refuses.
 * So this file needs to know no more than the common case, and both read the same out of it.
 *
 * Source: opentelemetry-proto 1.x, trace/v1/trace.proto, common/v1/common.proto.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

#include "check.h"
#include "wire.h"

#define MAX_DEPTH 16
#define MEMO_SLOTS 2048
#define MEMO_BYTES 64

typedef enum { DONE, UNCLEAN, FAILED } Outcome;

/* Texts met lately, by their bytes: keys and names come again with every span, and equal ones are one object then. */
typedef struct {
    PyObject *memo[MEMO_SLOTS];
} ModuleState;

/* What one call works with; the references of the first line are borrowed, the others its own. */
typedef struct {
    PyObject *span_type, *event_type, *link_type, *make_resource, *kinds, *statuses;
    PyObject *spans, *resource, *scope, *version, *last_trace, *last_parent;
    ModuleState *state;
} Reader;

#define TRY(step)                                                                                                      \
    do {                                                                                                               \
        Outcome outcome_ = (step);                                                                                     \
        if (outcome_ != DONE)                                                                                          \
            return outcome_;                                                                                           \
    } while (0)

/* Note that a field that may stand once was met; UNCLEAN where it was before or has another type. */
static Outcome once(uint32_t *seen, const Field *field, uint32_t type)
{
    if (field->type != type || (*seen >> field->number & 1))
        return UNCLEAN;
    *seen |= 1u << field->number;
    return DONE;
}

/* Set *text to a new reference to a str. */
static Outcome read_text(Reader *reader, Stretch bytes, PyObject **text)
{
    size_t size = wire_size(bytes);
    PyObject **slot = NULL;
    if (size <= MEMO_BYTES) {
        uint64_t hash = 0xcbf29ce484222325u ^ size;
        for (size_t place = 0; place < size; place++)
            hash = (hash ^ bytes.at[place]) * 0x100000001b3u;
        slot = &reader->state->memo[(hash ^ hash >> 32) % MEMO_SLOTS];
        if (*slot && PyUnicode_IS_COMPACT_ASCII(*slot) && PyUnicode_GET_LENGTH(*slot) == (Py_ssize_t)size &&
            !memcmp(PyUnicode_1BYTE_DATA(*slot), bytes.at, size)) {
            *text = Py_NewRef(*slot);
            return DONE;
        }
    }
    *text = PyUnicode_DecodeUTF8((const char *)bytes.at, (Py_ssize_t)size, NULL);
    if (!*text) {
        if (!PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
            return FAILED;
        PyErr_Clear();
        return UNCLEAN;
    }
    if (slot && PyUnicode_IS_COMPACT_ASCII(*text))
        Py_XSETREF(*slot, Py_NewRef(*text));
    return DONE;
}

static Outcome read_pairs_into(Reader *reader, PyObject *found, Stretch message, int depth);
static Outcome read_value(Reader *reader, Stretch message, int depth, PyObject **value);

/* Read the AnyValues of an ArrayValue into a new list. */
static Outcome read_list(Reader *reader, Stretch message, int depth, PyObject **value)
{
    PyObject *list = PyList_New(0);
    if (!list)
        return FAILED;
    Outcome outcome = DONE;
    while (outcome == DONE && message.at < message.end) {
        Field field;
        PyObject *item = NULL;
        if (!wire_next(&message, &field) || field.number != 1 || field.type != BYTES) {
            outcome = UNCLEAN;
            break;
        }
        outcome = read_value(reader, field.bytes, depth + 1, &item);
        if (outcome == DONE && PyList_Append(list, item) < 0)
            outcome = FAILED;
        Py_XDECREF(item);
    }
    if (outcome == DONE)
        *value = list;
    else
        Py_DECREF(list);
    return outcome;
}

/* Read the KeyValues of a KeyValueList into a new dict. */
static Outcome read_mapping(Reader *reader, Stretch message, int depth, PyObject **value)
{
    PyObject *found = PyDict_New();
    if (!found)
        return FAILED;
    Outcome outcome = DONE;
    while (outcome == DONE && message.at < message.end) {
        Field field;
        if (!wire_next(&message, &field) || field.number != 1 || field.type != BYTES)
            outcome = UNCLEAN;
        else
            outcome = read_pairs_into(reader, found, field.bytes, depth + 1);
    }
    if (outcome == DONE)
        *value = found;
    else
        Py_DECREF(found);
    return outcome;
}

/* Set *value to a new reference to what an AnyValue holds: None for nothing and for bytes. */
static Outcome read_value(Reader *reader, Stretch message, int depth, PyObject **value)
{
    Field field;
    if (depth > MAX_DEPTH)
        return UNCLEAN;
    if (message.at == message.end) {
        *value = Py_NewRef(Py_None);
        return DONE;
    }
    if (!wire_next(&message, &field) || message.at < message.end)
        return UNCLEAN;
    double number;
    switch (field.number << 3 | field.type) {
    case 1 << 3 | BYTES:
        return read_text(reader, field.bytes, value);
    case 2 << 3 | VARINT:
        *value = PyBool_FromLong(field.value != 0);
        break;
    case 3 << 3 | VARINT:
        *value = PyLong_FromLongLong((int64_t)field.value);
        break;
    case 4 << 3 | FIXED64:
        memcpy(&number, &field.value, sizeof number);
        *value = PyFloat_FromDouble(number);
        break;
    case 5 << 3 | BYTES:
        return read_list(reader, field.bytes, depth, value);
    case 6 << 3 | BYTES:
        return read_mapping(reader, field.bytes, depth, value);
    case 7 << 3 | BYTES:
        *value = Py_NewRef(Py_None);
        break;
    default:
        return UNCLEAN;
    }
    return *value ? DONE : FAILED;
}

/* Read one KeyValue into a dict; the last of a repeated key wins. */
static Outcome read_pairs_into(Reader *reader, PyObject *found, Stretch message, int depth)
{
    PyObject *key = NULL, *value = NULL;
    Outcome outcome = DONE;
    uint32_t seen = 0;
    while (outcome == DONE && message.at < message.end) {
        Field field;
        if (!wire_next(&message, &field) || field.number > 2 || once(&seen, &field, BYTES) != DONE)
            outcome = UNCLEAN;
        else if (field.number == 1)
            outcome = read_text(reader, field.bytes, &key);
        else
            outcome = read_value(reader, field.bytes, depth, &value);
    }
    if (outcome == DONE && !key)
        outcome = read_text(reader, (Stretch){message.end, message.end}, &key);
    if (outcome == DONE && PyDict_SetItem(found, key, value ? value : Py_None) < 0)
        outcome = FAILED;
    Py_XDECREF(key);
    Py_XDECREF(value);
    return outcome;
}

/* Set *id to a new reference to an id of `size` bytes that are not all zero; *last is the one met before, shared. */
static Outcome read_id(Stretch bytes, size_t size, PyObject **last, PyObject **id)
{
    static const uint8_t nothing[16];
    if (wire_size(bytes) != size || !memcmp(bytes.at, nothing, size))
        return UNCLEAN;
    if (last && *last && !memcmp(PyBytes_AS_STRING(*last), bytes.at, size)) {
        *id = Py_NewRef(*last);
        return DONE;
    }
    *id = PyBytes_FromStringAndSize((const char *)bytes.at, (Py_ssize_t)size);
    if (!*id)
        return FAILED;
    if (last)
        Py_XSETREF(*last, Py_NewRef(*id));
    return DONE;
}

/* Call a class with `count` references, which are taken, and append what it returns to a list. */
static Outcome append_made(PyObject *list, PyObject *type, PyObject **values, Py_ssize_t count)
{
    PyObject *made = PyObject_Vectorcall(type, values, (size_t)count, NULL);
    int failed = !made || PyList_Append(list, made) < 0;
    Py_XDECREF(made);
    return failed ? FAILED : DONE;
}

/* Replace what is unset of `count` values by None, or by a new list or dict where `shape` says 'l' or 'd'. */
static Outcome fill_in(PyObject **values, const char *shape)
{
    for (size_t place = 0; shape[place]; place++)
        if (!values[place]) {
            values[place] = shape[place] == 'l'   ? PyList_New(0)
                            : shape[place] == 'd' ? PyDict_New()
                                                  : Py_NewRef(Py_None);
            if (!values[place])
                return FAILED;
        }
    return DONE;
}

static void drop(PyObject **values, size_t count)
{
    for (size_t place = 0; place < count; place++)
        Py_XDECREF(values[place]);
}

/* Set *list or *dict to a new one where there is none yet. */
static Outcome need(PyObject **container, bool is_list)
{
    if (!*container)
        *container = is_list ? PyList_New(0) : PyDict_New();
    return *container ? DONE : FAILED;
}

enum { EVENT_NAME, EVENT_TIME, EVENT_ATTRIBUTES, EVENT_VALUES };

static Outcome read_event_fields(Reader *reader, Stretch message, PyObject **values)
{
    uint32_t seen = 0;
    while (message.at < message.end) {
        Field field;
        if (!wire_next(&message, &field) || field.number > 4)
            return UNCLEAN;
        switch (field.number) {
        case 1:
            TRY(once(&seen, &field, FIXED64));
            if (field.value > INT64_MAX)
                return UNCLEAN;
            if (field.value && !(values[EVENT_TIME] = PyLong_FromUnsignedLongLong(field.value)))
                return FAILED;
            break;
        case 2:
            TRY(once(&seen, &field, BYTES));
            TRY(read_text(reader, field.bytes, &values[EVENT_NAME]));
            break;
        case 3:
            if (field.type != BYTES)
                return UNCLEAN;
            TRY(need(&values[EVENT_ATTRIBUTES], false));
            TRY(read_pairs_into(reader, values[EVENT_ATTRIBUTES], field.bytes, 0));
            break;
        default:
            TRY(once(&seen, &field, VARINT));
        }
    }
    if (!values[EVENT_NAME])
        TRY(read_text(reader, (Stretch){message.end, message.end}, &values[EVENT_NAME]));
    return fill_in(values, "  d");
}

enum { LINK_TRACE, LINK_SPAN, LINK_ATTRIBUTES, LINK_VALUES };

static Outcome read_link_fields(Reader *reader, Stretch message, PyObject **values)
{
    uint32_t seen = 0;
    while (message.at < message.end) {
        Field field;
        if (!wire_next(&message, &field) || field.number > 6)
            return UNCLEAN;
        switch (field.number) {
        case 1:
            TRY(once(&seen, &field, BYTES));
            TRY(read_id(field.bytes, 16, NULL, &values[LINK_TRACE]));
            break;
        case 2:
            TRY(once(&seen, &field, BYTES));
            TRY(read_id(field.bytes, 8, NULL, &values[LINK_SPAN]));
            break;
        case 3:
            TRY(once(&seen, &field, BYTES));
            TRY(is_utf8(field.bytes) ? DONE : UNCLEAN);
            break;
        case 4:
            if (field.type != BYTES)
                return UNCLEAN;
            TRY(need(&values[LINK_ATTRIBUTES], false));
            TRY(read_pairs_into(reader, values[LINK_ATTRIBUTES], field.bytes, 0));
            break;
        default:
            TRY(once(&seen, &field, field.number == 5 ? VARINT : FIXED32));
        }
    }
    return values[LINK_TRACE] && values[LINK_SPAN] ? fill_in(values, "  d") : UNCLEAN;
}

typedef Outcome (*ReadFields)(Reader *, Stretch, PyObject **);

/* Read an event or a link and append it to *list. */
static Outcome append_part(Reader *reader, Stretch message, PyObject **list, PyObject *type, ReadFields read_fields)
{
    PyObject *values[EVENT_VALUES] = {NULL};
    Outcome outcome = need(list, true);
    if (outcome == DONE)
        outcome = read_fields(reader, message, values);
    if (outcome == DONE)
        outcome = append_made(*list, type, values, EVENT_VALUES);
    drop(values, EVENT_VALUES);
    return outcome;
}

/* Set *status to a new reference. */
static Outcome read_status(Reader *reader, Stretch message, PyObject **status)
{
    uint32_t seen = 0;
    uint64_t code = 0;
    while (message.at < message.end) {
        Field field;
        if (!wire_next(&message, &field) || (field.number != 2 && field.number != 3))
            return UNCLEAN;
        TRY(once(&seen, &field, field.number == 2 ? BYTES : VARINT));
        if (field.number == 2)
            TRY(is_utf8(field.bytes) ? DONE : UNCLEAN);
        else
            code = field.value;
    }
    if (code >= (uint64_t)PyTuple_GET_SIZE(reader->statuses))
        return UNCLEAN;
    *status = Py_NewRef(PyTuple_GET_ITEM(reader->statuses, (Py_ssize_t)code));
    return DONE;
}

enum { /* the fields of a RawSpan in their order */
    TRACE_ID, SPAN_ID, NAME, PARENT_ID, KIND, START, END, STATUS, ATTRIBUTES, EVENTS, LINKS, RESOURCE, SCOPE, VERSION,
    TRACE_STATE, SPAN_VALUES
};

static Outcome read_time(const Field *field, uint64_t *time_ns, PyObject **value)
{
    if (!field->value || field->value > INT64_MAX)
        return UNCLEAN;
    *time_ns = field->value;
    *value = PyLong_FromUnsignedLongLong(field->value);
    return *value ? DONE : FAILED;
}

static Outcome read_span_field(Reader *reader, const Field *field, uint32_t *seen, uint64_t *times, PyObject **values)
{
    static const uint8_t type_of[17] = {0,      BYTES,  BYTES, BYTES,  BYTES, BYTES,  VARINT, FIXED64, FIXED64,
                                        BYTES,  VARINT, BYTES, VARINT, BYTES, VARINT, BYTES,  FIXED32};
    if (field->number > 16 || field->type != type_of[field->number])
        return UNCLEAN;
    if (field->number == 9) {
        TRY(need(&values[ATTRIBUTES], false));
        return read_pairs_into(reader, values[ATTRIBUTES], field->bytes, 0);
    }
    if (field->number == 11)
        return append_part(reader, field->bytes, &values[EVENTS], reader->event_type, read_event_fields);
    if (field->number == 13)
        return append_part(reader, field->bytes, &values[LINKS], reader->link_type, read_link_fields);
    TRY(once(seen, field, field->type));
    switch (field->number) {
    case 1:
        return read_id(field->bytes, 16, &reader->last_trace, &values[TRACE_ID]);
    case 2:
        return read_id(field->bytes, 8, NULL, &values[SPAN_ID]);
    case 3:
        return wire_size(field->bytes) ? read_text(reader, field->bytes, &values[TRACE_STATE]) : DONE;
    case 4:
        return wire_size(field->bytes) ? read_id(field->bytes, 8, &reader->last_parent, &values[PARENT_ID]) : DONE;
    case 5:
        return read_text(reader, field->bytes, &values[NAME]);
    case 6:
        if (field->value >= (uint64_t)PyTuple_GET_SIZE(reader->kinds))
            return UNCLEAN;
        values[KIND] = Py_NewRef(PyTuple_GET_ITEM(reader->kinds, (Py_ssize_t)field->value));
        return DONE;
    case 7:
        return read_time(field, &times[0], &values[START]);
    case 8:
        return read_time(field, &times[1], &values[END]);
    case 15:
        return read_status(reader, field->bytes, &values[STATUS]);
    default:
        return DONE; /* counts of what was dropped, and flags */
    }
}

static Outcome read_span_fields(Reader *reader, Stretch message, PyObject **values)
{
    uint32_t seen = 0;
    uint64_t times[2] = {0, 0};
    while (message.at < message.end) {
        Field field;
        if (!wire_next(&message, &field))
            return UNCLEAN;
        TRY(read_span_field(reader, &field, &seen, times, values));
    }
    if (!values[TRACE_ID] || !values[SPAN_ID] || !times[1] || times[1] < times[0])
        return UNCLEAN;
    if (!values[NAME])
        TRY(read_text(reader, (Stretch){message.end, message.end}, &values[NAME]));
    if (!values[STATUS])
        values[STATUS] = Py_NewRef(PyTuple_GET_ITEM(reader->statuses, 0));
    values[RESOURCE] = Py_NewRef(reader->resource);
    values[SCOPE] = Py_XNewRef(reader->scope);
    values[VERSION] = Py_XNewRef(reader->version);
    return fill_in(values, "        dll    ");
}

static Outcome read_span(Reader *reader, Stretch message)
{
    PyObject *values[SPAN_VALUES] = {NULL};
    Outcome outcome = read_span_fields(reader, message, values);
    if (outcome == DONE)
        outcome = append_made(reader->spans, reader->span_type, values, SPAN_VALUES);
    drop(values, SPAN_VALUES);
    return outcome;
}

/* Set the scope and version of the spans to come. */
static Outcome read_scope(Reader *reader, Stretch message)
{
    uint32_t seen = 0;
    while (message.at < message.end) {
        Field field;
        if (!wire_next(&message, &field) || field.number > 2)
            return UNCLEAN; /* attributes of scopes are rare, and nobody asks for them */
        TRY(once(&seen, &field, BYTES));
        if (wire_size(field.bytes))
            TRY(read_text(reader, field.bytes, field.number == 1 ? &reader->scope : &reader->version));
    }
    return DONE;
}

/* Set the resource of the spans to come to what the caller makes of a Resource's attributes. */
static Outcome read_resource(Reader *reader, Stretch message)
{
    PyObject *attributes = PyDict_New();
    uint32_t seen = 0;
    Outcome outcome = attributes ? DONE : FAILED;
    while (outcome == DONE && message.at < message.end) {
        Field field;
        if (!wire_next(&message, &field) || field.number > 2)
            outcome = UNCLEAN;
        else if (field.number == 2)
            outcome = once(&seen, &field, VARINT);
        else
            outcome = field.type == BYTES ? read_pairs_into(reader, attributes, field.bytes, 0) : UNCLEAN;
    }
    if (outcome == DONE && !(reader->resource = PyObject_CallOneArg(reader->make_resource, attributes)))
        outcome = FAILED;
    Py_XDECREF(attributes);
    return outcome;
}

typedef Outcome (*ReadMessage)(Reader *, Stretch);

/* Read a ScopeSpans or ResourceSpans: 1 its head, which may stand behind 2 its items, and 3 the URL of a schema. */
static Outcome read_group(Reader *reader, Stretch message, ReadMessage read_head, ReadMessage read_item)
{
    Stretch head = {message.end, message.end};
    uint32_t seen = 0;
    for (Stretch rest = message; rest.at < rest.end;) {
        Field field;
        if (!wire_next(&rest, &field) || field.number > 3 || field.type != BYTES)
            return UNCLEAN;
        if (field.number != 2)
            TRY(once(&seen, &field, BYTES));
        if (field.number == 1)
            head = field.bytes;
        if (field.number == 3)
            TRY(is_utf8(field.bytes) ? DONE : UNCLEAN);
    }
    TRY(read_head(reader, head));
    while (message.at < message.end) {
        Field field;
        wire_next(&message, &field);
        if (field.number == 2)
            TRY(read_item(reader, field.bytes));
    }
    return DONE;
}

static Outcome read_scope_spans(Reader *reader, Stretch message)
{
    Outcome outcome = read_group(reader, message, read_scope, read_span);
    Py_CLEAR(reader->scope);
    Py_CLEAR(reader->version);
    return outcome;
}

static Outcome read_resource_spans(Reader *reader, Stretch message)
{
    Outcome outcome = read_group(reader, message, read_resource, read_scope_spans);
    Py_CLEAR(reader->resource);
    return outcome;
}

static Outcome read_request(Reader *reader, Stretch message)
{
    while (message.at < message.end) {
        Field field;
        if (!wire_next(&message, &field) || field.number != 1 || field.type != BYTES)
            return UNCLEAN;
        TRY(read_resource_spans(reader, field.bytes));
    }
    return DONE;
}

static PyObject *decode_spans(PyObject *module, PyObject *args)
{
    Reader reader = {.state = PyModule_GetState(module)};
    Py_buffer body;
    if (!PyArg_ParseTuple(args, "y*OOOOO!O!:decode_spans", &body, &reader.span_type, &reader.event_type,
                          &reader.link_type, &reader.make_resource, &PyTuple_Type, &reader.kinds, &PyTuple_Type,
                          &reader.statuses))
        return NULL;
    Outcome outcome = FAILED;
    if (!PyTuple_GET_SIZE(reader.statuses))
        PyErr_SetString(PyExc_ValueError, "statuses is empty");
    else if ((reader.spans = PyList_New(0)))
        outcome = read_request(&reader, (Stretch){body.buf, (const uint8_t *)body.buf + body.len});
    Py_XDECREF(reader.last_trace);
    Py_XDECREF(reader.last_parent);
    PyBuffer_Release(&body);
    if (outcome == DONE)
        return reader.spans;
    Py_XDECREF(reader.spans);
    return outcome == UNCLEAN ? Py_NewRef(Py_None) : NULL;
}

static PyObject *count_spans(PyObject *Py_UNUSED(module), PyObject *argument)
{
    Py_buffer body;
    if (PyObject_GetBuffer(argument, &body, PyBUF_SIMPLE))
        return NULL;
    size_t spans;
    bool is_clean;
    Py_BEGIN_ALLOW_THREADS
    is_clean = check_request((Stretch){body.buf, (const uint8_t *)body.buf + body.len}, &spans);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&body);
    return is_clean ? PyLong_FromSize_t(spans) : Py_NewRef(Py_None);
}

/* Texts hold no references, so that nothing here can be part of a cycle. */
static void module_free(void *module)
{
    ModuleState *state = PyModule_GetState(module);
    for (size_t place = 0; place < MEMO_SLOTS; place++)
        Py_CLEAR(state->memo[place]);
}

static PyMethodDef module_methods[] = {
    {"decode_spans", decode_spans, METH_VARARGS, "Return the spans of a request, or None."},
    {"count_spans", count_spans, METH_O, "Return the number of spans of a request, or None."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {{0, NULL}};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_otlp",
    .m_size = sizeof(ModuleState),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__otlp(void)
{
    return PyModuleDef_Init(&module_definition);
}
