#define PY_SSIZE_T_CLEAN
#include <Python.h>
static struct PyModuleDef_Slot_dummy { int x; } unused_dummy;
static PyModuleDef_Slot slots[] = {{0, NULL}};
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, .m_name = "_native", .m_size = 0, .m_slots = slots};
PyMODINIT_FUNC PyInit__native(void) { (void)unused_dummy; return PyModuleDef_Init(&def); }
