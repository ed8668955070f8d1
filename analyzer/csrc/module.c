/* The Python face of the replay engine; every other file here is plain C11.
 *
 * Arrays come in as C-contiguous buffers of one type each and go out as bytes; numpy gives both their shape. The GIL is
 * released while a tree is built, steps are timed and a fleet runs.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "fleet.h"

#define RULES 15
#define OPTIONS 13
#define MODEL ((Py_ssize_t)(sizeof(StepModel) / sizeof(double)))
#define LOAD ((Py_ssize_t)(sizeof(StepLoad) / sizeof(double)))
#define TOTALS ((Py_ssize_t)(sizeof(ReplicaTotals) / sizeof(double)))

/* Take a buffer of `size`-byte items, any number of them where count < 0. Returns NULL with an exception set.
 * The view belongs to the caller; needs the GIL. */
static const void *take(PyObject *object, const char *name, Py_ssize_t size, Py_ssize_t count, Py_buffer *view)
{
    if (PyObject_GetBuffer(object, view, PyBUF_C_CONTIGUOUS) < 0)
        return NULL;
    if (view->len % size || (count >= 0 && view->len != count * size)) {
        PyErr_Format(PyExc_ValueError, "%s holds %zd bytes, not %zd items of %zd", name, view->len, count, size);
        PyBuffer_Release(view);
        return NULL;
    }
    return view->len ? view->buf : "";
}

/* Return the bytes of `count` items as a new reference; needs the GIL. */
static PyObject *give(const void *items, int64_t count, size_t size)
{
    return PyBytes_FromStringAndSize(items, (Py_ssize_t)(count * (int64_t)size));
}

PyDoc_STRVAR(build_tree_doc,
             "build_tree(offsets, hashes) -> (leaf, parent, blocks, unique_blocks, unchained)\n\n"
             "Build the prefix tree of chains: int64 offsets (one more than chains) into uint64 hashes.");

static PyObject *build_tree(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *offsets_object, *hashes_object, *result = NULL;
    Py_buffer views[2] = {0};
    TreeBuild build = {0};
    bool done;
    if (!PyArg_ParseTuple(args, "OO:build_tree", &offsets_object, &hashes_object))
        return NULL;
    const int64_t *offsets = take(offsets_object, "offsets", 8, -1, &views[0]);
    if (!offsets)
        return NULL;
    int64_t chains = views[0].len / 8 - 1;
    if (chains < 0) {
        PyErr_SetString(PyExc_ValueError, "offsets is empty");
        goto error;
    }
    const uint64_t *hashes = take(hashes_object, "hashes", 8, -1, &views[1]);
    if (!hashes)
        goto error;
    for (int64_t i = 0; i < chains; i++)
        if (offsets[i] < 0 || offsets[i + 1] < offsets[i] || offsets[i + 1] > views[1].len / 8) {
            PyErr_Format(PyExc_ValueError, "offsets of chain %lld are out of range", (long long)i);
            goto error;
        }
    Py_BEGIN_ALLOW_THREADS
    done = tree_build(&build, chains, offsets, hashes);
    Py_END_ALLOW_THREADS
    if (!done) {
        PyErr_NoMemory();
        goto error;
    }
    result = Py_BuildValue("(NNNLL)", give(build.leaf, chains, 4), give(build.parent, build.segments, 4),
                           give(build.blocks, build.segments, 4), (long long)build.unique_blocks,
                           (long long)build.unchained);
error:
    tree_build_close(&build);
    PyBuffer_Release(&views[0]);
    PyBuffer_Release(&views[1]);
    return result;
}

PyDoc_STRVAR(step_seconds_doc, "step_seconds(model, loads) -> bytes\n\n"
                               "Time steps: a float64 StepModel, float64 StepLoads of shape (n, 6); float64 seconds.");

static PyObject *time_steps(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *model_object, *loads_object, *result = NULL;
    Py_buffer views[2] = {0};
    if (!PyArg_ParseTuple(args, "OO:step_seconds", &model_object, &loads_object))
        return NULL;
    const StepModel *model = take(model_object, "model", 8, MODEL, &views[0]);
    if (!model)
        return NULL;
    const StepLoad *loads = take(loads_object, "loads", LOAD * 8, -1, &views[1]);
    if (!loads)
        goto error;
    int64_t count = views[1].len / (LOAD * 8);
    result = give(NULL, count, 8);
    if (!result)
        goto error;
    double *seconds = (double *)PyBytes_AS_STRING(result);
    Py_BEGIN_ALLOW_THREADS
    for (int64_t i = 0; i < count; i++)
        seconds[i] = step_seconds(model, &loads[i]);
    Py_END_ALLOW_THREADS
error:
    PyBuffer_Release(&views[0]);
    PyBuffer_Release(&views[1]);
    return result;
}

enum { /* the buffers of a simulation, in the order of its tuple */
    INPUT_TOKENS, OUTPUT_TOKENS, LEAF, PRIORITY, RELEASE_S, SESSION_FIRST, SESSION_START_S, EDGE_FIRST, EDGE_TO,
    EDGE_GAP_S, SEGMENT_PARENT, SEGMENT_BLOCKS, BACKGROUND_INPUT, BACKGROUND_OUTPUT, WHOLE_RULES, WHOLE_MODEL,
    DECODE_RULES, DECODE_MODEL, OPTION_VALUES, BUFFERS
};

static const struct { const char *name; int size; } BUFFER[BUFFERS] = {
    {"input_tokens", 4}, {"output_tokens", 4}, {"leaf", 4}, {"priority", 1}, {"release_s", 8}, {"session_first", 8},
    {"session_start_s", 8}, {"edge_first", 8}, {"edge_to", 4}, {"edge_gap_s", 8}, {"segment_parent", 4},
    {"segment_blocks", 4}, {"background_input", 4}, {"background_output", 4}, {"whole_rules", 8}, {"whole_model", 8},
    {"decode_rules", 8}, {"decode_model", 8}, {"options", 8},
};

static Rules rules_of(const double *values)
{
    return (Rules){
        .max_sequences = (int64_t)values[0],
        .max_step_tokens = (int64_t)values[1],
        .max_chunk_tokens = (int64_t)values[2],
        .prefill_first = values[3] != 0.0,
        .reserve_share = values[4],
        .kv_tokens = (int64_t)values[5],
        .window_tokens = (int64_t)values[6],
        .slack_tokens = (int64_t)values[7],
        .progress = (int64_t)values[8],
        .draft_tokens = (int64_t)values[9],
        .offload_tokens = (int64_t)values[10],
        .offload_s_per_token = values[11],
        .hull_sequences = values[12],
        .hull_context_tokens = values[13],
        .hull_hit_share = values[14],
    };
}

static bool check_rules(const Rules *rules)
{
    bool right = rules->max_sequences > 0 && rules->max_sequences < 1 << 28 && rules->max_step_tokens > 0 &&
                 rules->max_chunk_tokens > 0 && rules->progress >= PROGRESS_PARTS && rules->kv_tokens >= 0;
    if (!right)
        PyErr_SetString(PyExc_ValueError, "rules need batch, step, chunk and progress above zero");
    return right;
}

static FleetOptions options_of(const double *values)
{
    return (FleetOptions){
        .replicas = (int64_t)values[0],
        .decode_replicas = (int64_t)values[1],
        .router = (RouterKind)(int)values[2],
        .round_trip_s = values[3],
        .front_workers = (int64_t)values[4],
        .front_call_s = values[5],
        .front_token_s = values[6],
        .transfer_s = values[7],
        .transfer_token_s = values[8],
        .entry_s = values[12],
    };
}

/* Check that what indexes something stays inside it. Returns false with an exception set; needs the GIL. */
static bool check_workload(const Py_buffer *views, int64_t calls, int64_t sessions, int64_t edges, int64_t segments)
{
    const int64_t *session_first = views[SESSION_FIRST].buf, *edge_first = views[EDGE_FIRST].buf;
    const int32_t *leaf = views[LEAF].buf, *edge_to = views[EDGE_TO].buf;
    const char *wrong = NULL;
    if (session_first[0] != 0 || session_first[sessions] != calls)
        wrong = "session_first does not span the calls";
    for (int64_t i = 0; !wrong && i < sessions; i++)
        if (session_first[i + 1] < session_first[i])
            wrong = "session_first falls";
    if (!wrong && (edge_first[0] != 0 || edge_first[calls] != edges))
        wrong = "edge_first does not span the edges";
    for (int64_t i = 0; !wrong && i < calls; i++)
        if (edge_first[i + 1] < edge_first[i] || leaf[i] < -1 || leaf[i] >= segments)
            wrong = "edge_first falls, or a leaf is no segment";
    for (int64_t i = 0; !wrong && i < edges; i++)
        if (edge_to[i] < 0 || edge_to[i] >= calls)
            wrong = "an edge leads to no call";
    if (wrong)
        PyErr_SetString(PyExc_ValueError, wrong);
    return wrong == NULL;
}

/* Copy the workload into a fleet that was zeroed. Returns 0, or -1 with an exception set; needs the GIL. */
static int fill_fleet(Fleet *fleet, const Py_buffer *views, const double *options)
{
    int64_t calls = views[INPUT_TOKENS].len / 4, segments = views[SEGMENT_PARENT].len / 4;
    const int32_t *input = views[INPUT_TOKENS].buf, *output = views[OUTPUT_TOKENS].buf, *leaf = views[LEAF].buf;
    const uint8_t *priority = views[PRIORITY].buf;
    fleet->options = options_of(options);
    fleet->sessions = (Sessions){
        .count = views[SESSION_START_S].len / 8,
        .first = views[SESSION_FIRST].buf,
        .start_s = views[SESSION_START_S].buf,
        .release_s = views[RELEASE_S].buf,
        .concurrency = (int64_t)options[9],
    };
    fleet->edges = (Edges){views[EDGE_FIRST].buf, views[EDGE_TO].buf, views[EDGE_GAP_S].buf};
    fleet->background = (Background){
        .rate_per_s = options[10],
        .lengths = views[BACKGROUND_INPUT].len / 4,
        .input_tokens = views[BACKGROUND_INPUT].buf,
        .output_tokens = views[BACKGROUND_OUTPUT].buf,
    };
    if (fleet->background.lengths == 0)
        fleet->background.rate_per_s = 0.0;
    int64_t block_tokens = (int64_t)options[11];
    int64_t kv_tokens = (int64_t)((const double *)views[WHOLE_RULES].buf)[5];
    int64_t spare = 0;
    if (fleet->background.rate_per_s > 0.0)
        spare = Py_MIN(kv_tokens / block_tokens * fleet->options.replicas, 65536) + 1024;
    int64_t wrong = tree_open(&fleet->tree, segments, views[SEGMENT_PARENT].buf, views[SEGMENT_BLOCKS].buf, spare,
                              block_tokens);
    if (wrong > 0) {
        PyErr_Format(PyExc_ValueError, "segment %lld does not follow its parent", (long long)(wrong - 1));
        return -1;
    }
    if (wrong < 0 || !calls_open(&fleet->calls, calls)) {
        PyErr_NoMemory();
        return -1;
    }
    for (int64_t i = 0; i < calls; i++)
        calls_append(&fleet->calls, input[i], output[i], leaf[i], priority[i]);
    fleet->calls.foreground = calls;
    return 0;
}

/* Add one item to a dictionary, taking over the value's reference. Returns false with an exception set. */
static bool put(PyObject *answer, const char *name, PyObject *value)
{
    int failed = !value || PyDict_SetItemString(answer, name, value) < 0;
    Py_XDECREF(value);
    return !failed;
}

static double background_share_s(const Fleet *fleet)
{
    double busy_s = 0.0;
    for (int64_t i = 0; i < fleet->replica_count; i++)
        busy_s += fleet->replicas[i].totals.busy_s;
    for (int64_t call = 0; call < fleet->calls.foreground; call++)
        busy_s -= fleet->calls.busy_s[call];
    return fleet->calls.count > fleet->calls.foreground ? busy_s : 0.0;
}

/* Return what a fleet's run left, as a new reference to a dictionary; needs the GIL. */
static PyObject *answer_of(const Fleet *fleet)
{
    const Calls *calls = &fleet->calls;
    int64_t count = calls->foreground;
    PyObject *answer = PyDict_New();
    if (!answer)
        return NULL;
    PyObject *totals = PyBytes_FromStringAndSize(NULL, fleet->replica_count * TOTALS * 8);
    if (totals)
        for (int64_t i = 0; i < fleet->replica_count; i++)
            memcpy(PyBytes_AS_STRING(totals) + i * TOTALS * 8, &fleet->replicas[i].totals, (size_t)TOTALS * 8);
    if (put(answer, "ready_s", give(calls->ready_s, count, 8)) &&
        put(answer, "entered_s", give(calls->entered_s, count, 8)) &&
        put(answer, "admitted_s", give(calls->admitted_s, count, 8)) &&
        put(answer, "first_s", give(calls->first_s, count, 8)) &&
        put(answer, "end_s", give(calls->end_s, count, 8)) &&
        put(answer, "busy_s", give(calls->busy_s, count, 8)) &&
        put(answer, "hit_tokens", give(calls->hit_tokens, count, 4)) &&
        put(answer, "loaded_tokens", give(calls->loaded_tokens, count, 4)) &&
        put(answer, "reused_tokens", give(calls->reused_tokens, count, 4)) &&
        put(answer, "produced_tokens", give(calls->produced_tokens, count, 4)) &&
        put(answer, "preemptions", give(calls->preemptions, count, 2)) &&
        put(answer, "replica", give(calls->replica, count, 2)) &&
        put(answer, "status", give(calls->status, count, 1)) && put(answer, "totals", totals) &&
        put(answer, "background_calls", PyLong_FromLongLong(calls->count - count)) &&
        put(answer, "background_busy_s", PyFloat_FromDouble(background_share_s(fleet))) &&
        put(answer, "front_busy_s", PyFloat_FromDouble(fleet->frontend.busy_s)) &&
        put(answer, "stuck", PyLong_FromLongLong(count - fleet->done)))
        return answer;
    Py_DECREF(answer);
    return NULL;
}

/* Run Python's signal handlers. Returns true with an exception set where one raised; takes the GIL for it. */
static bool interrupted(void)
{
    PyGILState_STATE state = PyGILState_Ensure();
    bool raised = PyErr_CheckSignals() < 0;
    PyGILState_Release(state);
    return raised;
}

PyDoc_STRVAR(simulate_doc, "simulate(buffers, seed) -> dict\n\n"
                           "Run a workload on a fleet; replay_engine.py names the buffers and reads the answer.");

static PyObject *simulate(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *buffers, *result = NULL;
    unsigned long long seed;
    Py_buffer views[BUFFERS] = {0};
    Fleet fleet = {0};
    if (!PyArg_ParseTuple(args, "O!K:simulate", &PyTuple_Type, &buffers, &seed))
        return NULL;
    if (PyTuple_GET_SIZE(buffers) != BUFFERS)
        return PyErr_Format(PyExc_ValueError, "%zd buffers, not %d", PyTuple_GET_SIZE(buffers), BUFFERS);
    for (int i = 0; i < BUFFERS; i++)
        if (!take(PyTuple_GET_ITEM(buffers, i), BUFFER[i].name, BUFFER[i].size, -1, &views[i]))
            goto error;
    int64_t calls = views[INPUT_TOKENS].len / 4, sessions = views[SESSION_START_S].len / 8;
    int64_t edges = views[EDGE_TO].len / 4, segments = views[SEGMENT_PARENT].len / 4;
    const struct { int buffer; Py_ssize_t count; } expected[] = {
        {OUTPUT_TOKENS, calls}, {LEAF, calls}, {PRIORITY, calls}, {RELEASE_S, calls}, {SESSION_FIRST, sessions + 1},
        {EDGE_FIRST, calls + 1}, {EDGE_GAP_S, edges}, {SEGMENT_BLOCKS, segments}, {WHOLE_RULES, RULES},
        {WHOLE_MODEL, MODEL}, {DECODE_RULES, RULES}, {DECODE_MODEL, MODEL}, {OPTION_VALUES, OPTIONS},
        {BACKGROUND_OUTPUT, views[BACKGROUND_INPUT].len / 4},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        int buffer = expected[i].buffer;
        if (views[buffer].len != expected[i].count * BUFFER[buffer].size) {
            PyErr_Format(PyExc_ValueError, "%s does not hold %zd items", BUFFER[buffer].name, expected[i].count);
            goto error;
        }
    }
    const double *options = views[OPTION_VALUES].buf;
    RoleSetup whole = {.rules = rules_of(views[WHOLE_RULES].buf)}, decode = {.rules = rules_of(views[DECODE_RULES].buf)};
    memcpy(&whole.model, views[WHOLE_MODEL].buf, sizeof whole.model);
    memcpy(&decode.model, views[DECODE_MODEL].buf, sizeof decode.model);
    if (!check_rules(&whole.rules) || !check_rules(&decode.rules) ||
        !check_workload(views, calls, sessions, edges, segments))
        goto error;
    if (options[0] < 1 || options[1] < 0 || options[0] + options[1] > INT16_MAX || options[11] < 1) {
        PyErr_SetString(PyExc_ValueError, "options need 1 to 32,767 replicas and blocks of a token or more");
        goto error;
    }
    if (fill_fleet(&fleet, views, options) < 0)
        goto error;
    bool done;
    fleet.interrupted = interrupted;
    Py_BEGIN_ALLOW_THREADS
    done = fleet_open(&fleet, &whole, &decode, seed) && fleet_run(&fleet);
    Py_END_ALLOW_THREADS
    if (done)
        result = answer_of(&fleet);
    else if (!PyErr_Occurred())
        PyErr_NoMemory();
error:
    fleet_close(&fleet);
    for (int i = 0; i < BUFFERS; i++)
        PyBuffer_Release(&views[i]);
    return result;
}

static PyMethodDef methods[] = {
    {"build_tree", build_tree, METH_VARARGS, build_tree_doc},
    {"simulate", simulate, METH_VARARGS, simulate_doc},
    {"step_seconds", time_steps, METH_VARARGS, step_seconds_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_replay", .m_doc = "The replay engine.", .m_methods = methods, .m_slots = slots};

PyMODINIT_FUNC PyInit__replay(void)
{
    return PyModuleDef_Init(&definition);
}
