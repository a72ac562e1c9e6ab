"""Which class an expression means under any import, and which expressions are layers."""

import ast

import pytest

from batchnorm.source import Names, Objects, parse_source


def names_of(text, **options):
    return Names(parse_source(text.encode()), **options)


def last_call(names):
    return [n for n in ast.walk(names.source.tree) if isinstance(n, ast.Call)][-1]


IMPORTS = {
    "torch BatchNorm2d": [
        "import torch\ntorch.nn.BatchNorm2d(3)",
        "import torch as t\nt.nn.BatchNorm2d(3)",
        "import torch.nn\ntorch.nn.BatchNorm2d(3)",
        "import torch.nn as nn\nnn.BatchNorm2d(3)",
        "from torch import nn\nnn.BatchNorm2d(3)",
        "from torch import nn as N\nN.BatchNorm2d(3)",
        "from torch.nn import BatchNorm2d\nBatchNorm2d(3)",
        "from torch.nn import BatchNorm2d as BN\nBN(3)",
        "from torch.nn import *\nBatchNorm2d(3)",
        "from torch.nn import modules\nmodules.BatchNorm2d(3)",
        "from torch.nn.modules.batchnorm import BatchNorm2d\nBatchNorm2d(3)",
        "import torch.nn as nn\nBN = nn.BatchNorm2d\nBN(3)",
        "import torch.nn as nn\nL = nn\nBN = L.BatchNorm2d\nBN(3)",
        "import torch.nn as nn\nBN, C = nn.BatchNorm2d, nn.Conv2d\nBN(3)",
        "import torch.nn as nn\n(A, [BN]), C = (1, (nn.BatchNorm2d,)), 2\nBN(3)",
        "def f():\n    from torch import nn\n    return nn.BatchNorm2d(3)",
        "try:\n    import torch.nn as nn\nexcept ImportError:\n    nn = None\nnn.BatchNorm2d(3)",
        "def f():\n    global nn\n    import torch.nn as nn\ndef g():\n    nn.BatchNorm2d(3)",
    ],
    "torch SyncBatchNorm": ["from torch import nn\nnn.SyncBatchNorm(3)"],
    "torch LazyBatchNorm1d": ["from torch import nn\nnn.LazyBatchNorm1d()"],
    "mindspore BatchNorm2d": [
        "from mindspore import nn\nnn.BatchNorm2d(3)",
        "import mindspore.nn as nn\nnn.BatchNorm2d(3)",
        "import mindspore as ms\nms.nn.BatchNorm2d(3)",
        "from mindspore.nn.layer.normalization import BatchNorm2d\nBatchNorm2d(3)",
    ],
    "mint SyncBatchNorm": [
        "from mindspore import mint\nmint.nn.SyncBatchNorm(3)",
        "from mindspore.mint.nn.layer.normalization import SyncBatchNorm\nSyncBatchNorm(3)",
    ],
    "tf_keras BatchNormalization": [
        "import tensorflow as tf\ntf.keras.layers.BatchNormalization()",
        "import tensorflow.compat.v1 as tf\ntf.keras.layers.BatchNormalization()",
        "from tensorflow import keras\nkeras.layers.BatchNormalization()",
        "from tensorflow.keras import layers\nlayers.BatchNormalization()",
        "from tensorflow.keras import layers as L\nL.BatchNormalization()",
        "from tensorflow.keras.layers import *\nBatchNormalization()",
        "from tensorflow.keras.layers import BatchNormalization as BN\nBN()",
        "import tf_keras\ntf_keras.layers.BatchNormalization()",
        "from tensorflow.python.keras.layers import BatchNormalization\nBatchNormalization()",
    ],
    "keras BatchNormalization": [
        "import keras\nkeras.layers.BatchNormalization()",
        "from keras import layers\nlayers.BatchNormalization()",
        "from keras.src import layers\nlayers.BatchNormalization()",
        "import keras_core as keras\nkeras.layers.BatchNormalization()",
    ],
}


@pytest.mark.parametrize(
    ("expected", "text"), [(key, text) for key, texts in IMPORTS.items() for text in texts]
)
def test_a_class_is_known_under_any_import(expected, text):
    names = names_of(text)
    symbol = names.symbol(last_call(names).func)
    assert f"{symbol.framework} {symbol.name}" == expected


@pytest.mark.parametrize(
    "text",
    [
        "from .layers import BatchNorm2d\nBatchNorm2d(3)",
        "class BatchNorm2d: pass\nBatchNorm2d(3)",
        "from torch import nn\ndef f(nn):\n    nn.BatchNorm2d(3)",
        "from torch import nn\nnn = make()\nnn.BatchNorm2d(3)",
        "from paddle import nn\nnn.BatchNorm2d(3)",
        "from torch import nn\nnn.GroupNorm(3, 3)",
        "nn.BatchNorm2d(3)",
        "from torch import nn\n[nn.BatchNorm2d(3) for nn in modules]",
        "class A:\n    from torch import nn\n    def f(self):\n        nn.BatchNorm2d(3)",
    ],
)
def test_what_is_none_of_ours_has_no_symbol(text):
    names = names_of(text)
    assert names.symbol(last_call(names).func) is None


def test_which_keras_is_meant_can_be_said():
    names = names_of("import keras\nkeras.layers.BatchNormalization()", keras="tf_keras")
    assert names.symbol(last_call(names).func).framework == "tf_keras"
    names = names_of("import tensorflow as tf\ntf.keras.layers.BatchNormalization()", keras="keras")
    assert names.symbol(last_call(names).func).framework == "keras"


def test_a_relative_import_is_followed_into_its_file(tmp_path):
    (tmp_path / "package" / "models").mkdir(parents=True)
    (tmp_path / "package" / "compat.py").write_text(
        "try:\n    import tf_keras as keras\nexcept ImportError:\n    import keras\n"
    )
    here = tmp_path / "package" / "models" / "net.py"
    text = "from ..compat import keras\nkeras.layers.BatchNormalization()"
    names = names_of(text, path=here)  # code that takes tf_keras or else keras means Keras 2
    assert names.symbol(last_call(names).func).framework == "tf_keras"


def test_a_name_that_is_one_framework_or_another_is_unknown():
    names = names_of(
        "try:\n    import torch.nn as nn\nexcept ImportError:\n    import mindspore.nn as nn\n"
        "nn.BatchNorm2d(3)"
    )
    assert names.symbol(last_call(names).func) is None
    assert names.unknown(last_call(names).func)


def test_files_that_import_from_each_other_end(tmp_path):
    (tmp_path / "a.py").write_text("from .b import nn\n")
    (tmp_path / "b.py").write_text("from .a import nn\n")
    names = names_of("from .a import nn\nnn.BatchNorm2d(3)", path=tmp_path / "c.py")
    assert names.symbol(last_call(names).func) is None


HEAD = "from torch import nn\n"
KNOWN = [
    "bn = nn.BatchNorm2d(3)\nbn.HERE",
    "bn = nn.BatchNorm2d(3).cuda()\nbn.HERE",
    "if a:\n    bn = nn.BatchNorm2d(3)\nelse:\n    bn = nn.BatchNorm1d(3)\nbn.HERE",
    "class A(nn.Module):\n    def __init__(self):\n        self.bn = nn.BatchNorm2d(3)\n"
    "    def f(self):\n        self.bn.HERE",
    "class A(nn.Module):\n    def f(self):\n        self.bn.HERE\n"
    "    def g(self):\n        bn = nn.BatchNorm2d(3)\n        self.bn = bn",
    "class A(nn.Module):\n    def __init__(self):\n        self.bn = None\n"
    "        self.bn = nn.BatchNorm2d(3)\n    def f(self):\n        self.bn.HERE",
    "class A(nn.Module):\n    def __init__(self):\n        self.bn = nn.BatchNorm2d(3)\n"
    "class B(A):\n    def f(self):\n        self.bn.HERE",
    "class A(nn.Module):\n    def __init__(self):\n        self.bn = nn.BatchNorm2d(3)\n"
    "net = A()\nnet.bn.HERE",
    "class A(nn.Module):\n    def __init__(self):\n        self.bn = nn.BatchNorm2d(3)\n"
    "class B(nn.Module):\n    def __init__(self):\n        self.a = A()\n        self.a.bn.HERE",
    "for m in net.modules():\n    if isinstance(m, nn.BatchNorm2d):\n        m.HERE",
    "for m in net.modules():\n    if isinstance(m, (nn.BatchNorm2d, nn.BatchNorm1d)):\n"
    "        m.HERE",
    "for m in net:\n    if not isinstance(m, nn.BatchNorm2d):\n        continue\n    m.HERE",
    "for m in net:\n    if isinstance(m, nn.Conv2d):\n        pass\n"
    "    elif isinstance(m, nn.BatchNorm2d):\n        m.HERE",
    "for m in net:\n    if isinstance(m, nn.BatchNorm2d) and m.HERE:\n        pass",
    "for m in net:\n    if type(m) is nn.BatchNorm2d:\n        m.HERE",
    "[m.HERE for m in net.modules() if isinstance(m, nn.BatchNorm2d)]",
    "assert isinstance(m, nn.BatchNorm2d)\nm.HERE",
    "x = m.HERE if isinstance(m, nn.BatchNorm2d) else None",
    "KINDS = (nn.BatchNorm1d, nn.BatchNorm2d)\nif isinstance(m, KINDS):\n    m.HERE",
    "def f(bn: nn.BatchNorm2d):\n    bn.HERE",
    "def f(bn: nn.BatchNorm2d | None):\n    bn.HERE",
    "bns = nn.ModuleList([nn.BatchNorm2d(i) for i in range(3)])\nfor bn in bns:\n    bn.HERE",
    "bns = [nn.BatchNorm2d(1), nn.BatchNorm2d(2)]\nfor i, bn in enumerate(bns):\n    bn.HERE",
    "bns = nn.ModuleList([nn.BatchNorm2d(1)])\nbns[0].HERE",
    "bns = [nn.BatchNorm2d(1)]\nfor x, bn in zip(xs, bns):\n    bn.HERE",
    "bn = nn.BatchNorm2d(1)\ndef f():\n    bn.HERE",
    "if isinstance(net.bn, nn.BatchNorm2d):\n    net.bn.HERE",
]
UNKNOWN = [
    "bn.HERE",
    "bn = nn.GroupNorm(3, 3)\nbn.HERE",
    "bn = nn.BatchNorm2d(3)\nbn = make()\nbn.HERE",
    "bn = nn.BatchNorm2d(3)\nif a:\n    bn = make()\nbn.HERE",
    "bn = nn.BatchNorm2d(3)\ndef f(bn):\n    bn.HERE",
    "class A(nn.Module):\n    def __init__(self):\n        self.bn = nn.BatchNorm2d(3)\n"
    "        self.bn = other()\n    def f(self):\n        self.bn.HERE",
    "class A(nn.Sequential):\n    def __init__(self, c):\n        super().__init__(c)\n"
    "        self.add_module('bn', nn.BatchNorm2d(3))\n    def f(self):\n"
    "        bn, = self.children()\n        bn.HERE",
    "class A(nn.Sequential):\n    def __init__(self, c):\n        super().__init__()\n"
    "        self.c = c\n        self.bn = nn.BatchNorm2d(3)\n    def f(self):\n"
    "        c, bn = self.children()\n        bn.HERE",
    "class A(nn.Module):\n    def __init__(self):\n        self.c = nn.Linear(1, 1)\n"
    "        self.c = nn.Identity()\n    def f(self):\n        self.c.HERE",
    "for m in net:\n    if isinstance(m, nn.BatchNorm2d):\n        pass\n    m.HERE",
    "for m in net:\n    if isinstance(m, nn.BatchNorm2d):\n        m = m.x\n        m.HERE",
    "for m in net:\n    if isinstance(m, nn.BatchNorm2d) or a:\n        m.HERE",
    "for m in net:\n    if isinstance(m, nn.BatchNorm2d):\n        continue\n    m.HERE",
    "bn = nn.BatchNorm2d(3)\nfor bn in others:\n    bn.HERE",
    "bn = nn.BatchNorm2d(3)\n[bn.HERE for bn in others]",
    "bns = [nn.BatchNorm2d(1), nn.ReLU()]\nbns[0].HERE",
    "import paddle\nbn = paddle.nn.BatchNorm2d(3)\nbn.HERE",
]


def thing_at_mark(text):
    names = names_of(HEAD + text)
    objects = Objects(names)
    marked = [
        n.value
        for n in ast.walk(names.source.tree)
        if isinstance(n, ast.Attribute) and n.attr == "HERE"
    ]
    return objects.thing(marked[0])


@pytest.mark.parametrize("text", KNOWN)
def test_a_layer_is_known_where_it_is_sure(text):
    found = thing_at_mark(text)
    assert found is not None
    assert found.kind == "layer"
    assert found.only


@pytest.mark.parametrize("text", UNKNOWN)
def test_what_may_be_something_else_is_not_known(text):
    assert thing_at_mark(text) is None


def test_a_guard_of_several_classes_says_so():
    found = thing_at_mark("if isinstance(m, (nn.BatchNorm2d, nn.GroupNorm)):\n    m.HERE")
    assert found.symbols
    assert not found.only


def test_an_attribute_that_may_be_another_layer_says_which():
    text = "class A(nn.Module):\n    def __init__(self):\n        self.bn = nn.BatchNorm2d(3)\n"
    found = thing_at_mark(
        text + "        self.bn = nn.Identity()\n    def f(self):\n        self.bn.HERE"
    )
    assert not found.only
    assert found.others == {"torch.nn.Identity"}


@pytest.mark.parametrize(
    "children",
    ["self.children()", "self._modules.values()", "self.cells()", "self._cells.values()"],
)
def test_children_are_known_by_their_order(children):
    text = (
        "class A(nn.Sequential):\n    def __init__(self):\n        super().__init__()\n"
        "        self.add_module('c', nn.Linear(3, 3))\n        self.bn = nn.BatchNorm1d(3)\n"
        f"    def f(self):\n        c, bn = {children}\n        "
    )
    assert thing_at_mark(text + "bn.HERE").only
    assert thing_at_mark(text + "c.HERE") is None


def test_the_call_that_made_a_layer_is_known():
    found = thing_at_mark("bn = nn.BatchNorm2d(3)\nbn.HERE")
    assert ast.unparse(found.calls[0]) == "nn.BatchNorm2d(3)"


def test_classes_that_derive_from_each_other_end():
    text = "class A(B): pass\nclass B(C): pass\nclass C(A):\n    def f(self): pass\nC()"
    names = names_of(text)
    assert Objects(names).thing(last_call(names)) is None


REEXPORTS = {
    "a module under another name": ("import pkg.old as keras\n", "keras.layers"),
    "a module of the own folder": ("from . import old\n", "old.layers"),
    "a module's star": ("from .star import *\n", "layers"),
    "a star of a star": ("from .again import *\n", "layers"),
    "an alias that is assigned": ("from .alias import L\n", "L"),
    "a package's submodule": ("from pkg import old as k\n", "k.layers"),
    "branches": ("from .either import keras\n", "keras.layers"),
}
FILES = {
    "__init__.py": "",
    "old.py": "from tensorflow.keras import *\nfrom os.path import *\n",
    "star.py": "from tensorflow.keras import layers\n",
    "again.py": "from .star import *\n",
    "alias.py": "import tensorflow as tf\nL = tf.keras.layers\n",
    "either.py": "if new():\n    import keras\nelse:\n    import pkg.old as keras\n",
    "own.py": "class layers:\n    BatchNormalization = object\n",
    "made.py": "import keras\nif old:\n    keras = shim()\n",
}


def in_package(tmp_path, text):
    (tmp_path / "pkg").mkdir()
    for name, code in FILES.items():
        (tmp_path / "pkg" / name).write_text(code)
    return names_of(text, path=tmp_path / "pkg" / "net.py")


@pytest.mark.parametrize("kind", REEXPORTS)
def test_a_packages_own_modules_are_followed(tmp_path, kind):
    head, layers = REEXPORTS[kind]
    names = in_package(tmp_path, f"{head}{layers}.BatchNormalization()")
    assert names.symbol(last_call(names).func).framework == "tf_keras"


@pytest.mark.parametrize(("module", "unknown"), [("own", False), ("made", True)])
def test_what_a_module_makes_itself_is_none_of_ours(tmp_path, module, unknown):
    name = "layers" if module == "own" else "keras"
    rest = "" if module == "own" else ".layers"
    names = in_package(tmp_path, f"from .{module} import {name}\n{name}{rest}.BatchNormalization()")
    assert names.symbol(last_call(names).func) is None
    assert names.unknown(last_call(names).func) is unknown


def test_a_frameworks_own_package_is_no_part_of_the_tree(tmp_path):
    (tmp_path / "keras" / "layers").mkdir(parents=True)  # as in site-packages
    (tmp_path / "keras" / "__init__.py").write_text("from keras.src import layers\n")
    (tmp_path / "keras" / "layers" / "__init__.py").write_text("class BatchNormalization: ...\n")
    (tmp_path / "mine").mkdir()
    text = "from keras import layers\nlayers.BatchNormalization()"
    names = names_of(text, path=tmp_path / "mine" / "net.py")
    assert names.symbol(last_call(names).func).framework == "keras"
