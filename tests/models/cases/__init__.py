"""One-operator cases of ONNX's operators, a module a subject. A case is registered under its operators' names:

    @operator("Add", "Sub")
    def arithmetic(name, version):  # version: a since_version of the operator
        yield Case("row", [numbers("a", (2, 3)), numbers("b", (3,))])
"""

OPERATORS = {}  # operator -> function of its since_version that yields cases


def operator(*names):
    def register(function):
        for name in names:
            OPERATORS[name] = (lambda version, name=name: function(name, version))
        return function

    return register


from . import move, order, pointwise, product, rows, sequence, window  # noqa: E402,F401  each registers its cases
