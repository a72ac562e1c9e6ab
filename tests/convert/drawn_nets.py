"""Nets drawn at random: one width throughout, so that shapes tell nothing, or a width per stage;
names and order of registration drawn too; names that count do so as the layers run. Computed in
NumPy, so that what an assignment does can be seen."""

import numpy as np

from batchnorm.checkpoints import Checkpoint, Entry
from batchnorm.checkpoints.steps import OUTPUT, Step

WIDTH = 6
WORDS = (
    "amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron", "inlet", "jade",
    "kelp", "lotus", "maple", "north", "olive", "pearl", "quartz", "raven", "slate", "thorn",
    "umber", "vale", "willow", "xenon", "yarrow", "zephyr",
)  # fmt: skip
BLOCKS = ("plain", "chain", "residual", "projected", "concatenated", "uneven", "preactivated",
          "pooled", "gated", "forked")  # fmt: skip
SCHEMES = ("numbered", "blocks", "counted", "words", "nested", "hex", "typed", "paired", "mostly",
           "by feeder", "by eater", "stem on top")  # fmt: skip
ORDERS = ("run", "kinds exchanged", "pairs exchanged", "shuffled", "shuffled in blocks", "by kind",
          "blocks shuffled", "few exchanged", "branches last", "branches first")  # fmt: skip


class Net:
    """Nodes (operation, inputs, kernel size, width in, width out); `block` and `role` of those with
    arrays."""

    def __init__(self, random, blocks=(1, 3), widths=(WIDTH,), kinds=BLOCKS):
        self.nodes, self.block, self.role = [], {}, {}
        self.width = random.choice(widths)
        x = self._unit(self.add("input"), 0, 1, inputs=3)
        for b in range(1, random.randint(*blocks) + 1):
            if len(widths) > 1 and random.random() < 0.2:
                x = self._wider(x, b, random.choice(widths))
            else:
                x = self._block(random.choice(kinds), x, b, random)
        if random.random() < 0.3:
            x = self.add("relu", [self.add("norm", [x], block=98, role="norm")])
        self.add("dense", [self.add("mean", [x])], block=99, role="fc", outputs=4)

    def add(self, what, inputs=(), size=1, width=None, block=None, role="", outputs=None):
        i = len(self.nodes)
        self.nodes.append((what, list(inputs), size, width or self.width, outputs or self.width))
        if block is not None:
            self.block[i], self.role[i] = block, role
        return i

    def _unit(self, x, b, n, size=3, inputs=None, relu=True, branch=False):
        names = ("downsample.0", "downsample.1") if branch else (f"conv{n}", f"bn{n}")
        conv = self.add("conv", [x], size, inputs, b, names[0])
        norm = self.add("norm", [conv], block=b, role=names[1])
        return self.add("relu", [norm]) if relu else norm

    def _wider(self, x, b, width):
        before, self.width = self.width, width
        return self._unit(x, b, 1, 1, before)

    def _block(self, kind, x, b, random):
        size = random.choice([1, 3])
        if kind == "plain":
            return self._unit(x, b, 1, size)
        if kind == "chain":
            return self._unit(self._unit(x, b, 1), b, 2)
        if kind in ("residual", "projected"):
            y = self._unit(self._unit(x, b, 1, size), b, 2, size, relu=False)
            short = self._unit(x, b, 3, size, relu=False, branch=True) if kind[0] == "p" else x
            return self.add("relu", [self.add("add", [y, short])])
        if kind == "concatenated":
            y = self.add("concat", [self._unit(x, b, 1), self._unit(x, b, 2)])
            return self._unit(y, b, 3, 1, 2 * self.width)
        if kind == "pooled":
            y = self._unit(self._unit(x, b, 2, 1), b, 3)
            own = [self._unit(x, b, 1, 1), y, self._unit(self.add("pool", [x]), b, 4, 1)]
            return self._unit(self.add("concat", own), b, 5, 1, 3 * self.width)
        if kind == "gated":
            y = self._unit(x, b, 1, size)
            gate = self.add("conv", [self.add("squeeze", [y])], 1, None, b, "se.fc1")
            gate = self.add("conv", [self.add("relu", [gate])], 1, None, b, "se.fc2")
            y = self.add("multiply", [y, self.add("sigmoid", [gate])])
            return self._unit(y, b, 2, size)
        if kind == "forked":
            y = self._unit(x, b, 1, size)
            y = self.add("concat", [self._unit(y, b, 2, size), self._unit(y, b, 3, size)])
            return self._unit(y, b, 4, 1, 2 * self.width)
        if kind == "uneven":
            y = self._unit(self._unit(x, b, 1), b, 2)
            return self.add("add", [self._unit(x, b, 3), y])
        norm = self.add("norm", [x], block=b, role="bn1")
        y = self.add("conv", [self.add("relu", [norm])], 3, None, b, "conv1")
        norm = self.add("norm", [y], block=b, role="bn2")
        y = self.add("conv", [self.add("relu", [norm])], 3, None, b, "conv2")
        return self.add("add", [y, x])

    def arrays(self, seed):
        """Each layer's arrays, by torch's names."""
        random, found = np.random.default_rng(seed), {}
        draw = lambda *shape: random.normal(0, 1, shape).astype("f4")  # noqa: E731
        for i in self.block:
            what, _, size, width, outputs = self.nodes[i]
            if what == "conv":
                found[i] = {"weight": draw(outputs, width, size, size) / np.sqrt(width) / size}
            elif what == "dense":
                found[i] = {"weight": draw(outputs, width), "bias": draw(outputs)}
            else:
                found[i] = {"weight": draw(width) / 3 + 1, "bias": draw(width) / 3}
                found[i] |= {"running_mean": draw(width) / 3}
                found[i] |= {"running_var": random.uniform(0.5, 1.5, width).astype("f4")}
        return found

    def logits(self, arrays, x):
        """What the net puts out for x, (n, 3, h, w)."""
        values = []
        for i, (what, inputs, *_) in enumerate(self.nodes):
            given = [values[j] for j in inputs]
            values.append(_computed(what, given, arrays.get(i, {})) if inputs else x)
        return values[-1]

    def names(self, scheme, random):
        """A name for each layer."""
        words = [f"{a}_{b}" for a in WORDS for b in (*WORDS, "left", "right", "upper", "lower")]
        parents = [*WORDS, *(a + b for a in WORDS for b in WORDS if a != b)]
        for own in (words, parents):
            random.shuffle(own)
        found, count, parent, tag = {}, {}, {}, {}
        bases = {"conv": ("conv2d", "_conv", "conv"), "dense": ("dense", "_fc", "fc"),
                 "norm": ("batch_normalization", "_bn", "bn")}  # fmt: skip
        for n, i in enumerate(self.block):
            what, inputs, *_ = self.nodes[i]
            long, end, short = bases[what]
            in_block = f"stage{self.block[i]}.{self.role[i]}"
            if scheme == "numbered":
                found[i] = f"layers.{n}"
            elif scheme == "blocks":
                found[i] = "fc" if what == "dense" else in_block
            elif scheme == "mostly":  # counted but for a few blocks
                owner = self.block[i]
                few = parent.setdefault(owner, random.random() < 0.12)
                found[i] = f"stage{owner}.{words.pop()}" if few and owner < 98 else in_block
            elif scheme == "stem on top":
                top = {0: ("conv_stem", "bn1"), 98: ("", "bn2"), 99: ("", "")}.get(self.block[i])
                found[i] = f"blocks.{self.block[i]}.{self.role[i]}" if top is None else (
                    "fc" if what == "dense" else top[what == "norm"]
                )  # fmt: skip
            elif scheme in ("by feeder", "by eater"):  # a module holds a norm and a layer beside it
                owner = parent.setdefault(self.block[i], words.pop())
                near = self._before(i) if scheme == "by feeder" else self._after(i)
                one = near if what == "norm" and near is not None else i
                found[i] = f"{owner}.{tag.setdefault(one, words.pop())}.{short}"
            elif scheme == "counted":
                count[what] = count.get(what, -1) + 1
                found[i] = f"{long}_{count[what]}" if count[what] else long
            elif scheme == "nested":
                owner = parent.setdefault(self.block[i], parents.pop())
                found[i] = "head" if what == "dense" else f"{owner}.{words.pop()}"
            elif scheme == "hex":
                found[i] = "m" + "".join(random.choice("0123456789abcdef") for _ in range(7))
            elif scheme == "paired":
                tag[i] = tag.get(inputs[0]) if what == "norm" else None
                tag[i] = tag[i] or words.pop()
                found[i] = f"{short}_{tag[i]}"
            else:
                found[i] = words.pop() + (end if scheme == "typed" else "")
        return found

    def _before(self, norm):
        """The convolution that a norm takes."""
        before = self.nodes[norm][1][0]
        return before if self.nodes[before][0] == "conv" else None

    def _after(self, norm):
        """The convolution that alone takes a norm, through an activation or not."""
        at = norm
        while True:
            after = [i for i, node in enumerate(self.nodes) if at in node[1]]
            if len(after) != 1 or self.nodes[after[0]][0] not in ("conv", "relu"):
                return None
            at = after[0]
            if self.nodes[at][0] == "conv":
                return at

    def order(self, how, random):
        """The order in which the layers are registered."""
        layers = list(self.block)
        if how == "shuffled":
            random.shuffle(layers)
        elif how == "by kind":
            layers.sort(key=lambda i: self.nodes[i][0] == "norm")
        elif how in ("shuffled in blocks", "blocks shuffled"):
            blocks = {}
            for i in layers:
                blocks.setdefault(self.block[i], []).append(i)
            own = list(blocks.values())
            for one in [own] if how == "blocks shuffled" else own:
                random.shuffle(one)
            layers = [i for one in own for i in one]
        elif how.startswith("branches"):
            branch = how.endswith("first")
            layers.sort(key=lambda i: (self.block[i], ("down" in self.role[i]) != branch))
        elif how == "few exchanged":
            for _ in range(random.randint(1, 3)):
                a = random.choice(layers)
                alike = [i for i in layers if self._shape(i) == self._shape(a) and i != a]
                near = sorted(alike, key=lambda i: abs(i - a))[:4]
                if near:
                    self._exchange(layers, a, random.choice(near), random)
        elif how != "run":
            layers = self._exchanged(layers, how, random)
        return layers

    def _shape(self, i):
        return (self.nodes[i][0], *self.nodes[i][2:])

    def _exchange(self, layers, a, b, random):
        """Two layers in each other's place; their norms, too, or not."""
        pairs = [(a, b)]
        norms = {self.nodes[i][1][0]: i for i in layers if self.nodes[i][0] == "norm"}
        if a in norms and b in norms and random.random() < 0.7:
            pairs.append((norms[a], norms[b]))
        for one, other in pairs:
            i, j = layers.index(one), layers.index(other)
            layers[i], layers[j] = layers[j], layers[i]

    def _exchanged(self, layers, how, random):
        """Layers of one shape in each other's places: the shapes' order stays."""
        norm_of = {self.nodes[i][1][0]: i for i in layers if self.nodes[i][0] == "norm"}
        classes = {}
        for i in layers:
            pair = how == "pairs exchanged"
            if not pair or self.nodes[i][0] != "norm":
                key = (*self._shape(i), pair and i in norm_of)
                classes.setdefault(key, []).append(i)
        new = {}
        for own in classes.values():
            other = list(own)
            random.shuffle(other)
            new.update(zip(own, other, strict=True))
        if how == "pairs exchanged":
            new |= {norm_of[a]: norm_of[b] for a, b in new.items() if a in norm_of}
        return [new.get(i, i) for i in layers]


def _computed(what, given, arrays):
    x = given[0]
    if what == "conv":
        size = arrays["weight"].shape[-1]
        padded = np.pad(x, ((0, 0), (0, 0), *[(size // 2, size // 2)] * 2))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (2, 3))
        return np.einsum("nchwij,ocij->nohw", windows, arrays["weight"])
    if what == "norm":
        mean, var, gamma, beta = (
            arrays[name].reshape(-1, 1, 1)
            for name in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / np.sqrt(var + 1e-5) * gamma + beta
    if what == "dense":
        return x @ arrays["weight"].T + arrays["bias"]
    if what == "relu":
        return np.maximum(x, 0)
    if what == "add":
        return given[0] + given[1]
    if what == "multiply":
        return given[0] * given[1]
    if what == "sigmoid":
        return 1 / (1 + np.exp(-x))
    if what == "pool":
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3)).mean((4, 5))
    if what == "squeeze":
        return x.mean((2, 3), keepdims=True)
    return np.concatenate(given, 1) if what == "concat" else x.mean((2, 3))


def state(arrays, names, order):
    """A torch state of these layers."""
    return {f"{names[i]}.{leaf}": value for i in order for leaf, value in arrays[i].items()}


WHAT = {"input": "InputLayer", "conv": "Conv2D", "norm": "BatchNormalization", "dense": "Dense",
        "relu": "ReLU", "add": "Add", "concat": "Concatenate", "multiply": "Multiply",
        "sigmoid": "Activation", "pool": "AveragePooling2D", "squeeze": "GlobalAveragePooling2D",
        "mean": "GlobalAveragePooling2D"}  # fmt: skip
LEAVES = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean",
          "running_var": "moving_variance"}  # fmt: skip


def configured(net, arrays, names, order):
    """These layers as a Keras file with a config has them: laid out so, and with their calls."""
    entries, layers, keys = {}, {}, {i: names[i].replace(".", "_") for i in names}
    for i in order:
        what = net.nodes[i][0]
        layers[keys[i]] = {"class_name": WHAT[what], "config": {"activation": "linear"}}
        for leaf, value in arrays[i].items():
            if what == "norm":
                own = LEAVES[leaf]
            else:
                own = "kernel" if leaf == "weight" else leaf
                value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T
            entries[f"{keys[i]}/{own}"] = Entry.of(f"{keys[i]}/{own}", np.ascontiguousarray(value))
    steps = [Step(keys.get(i, f"_{i}"), WHAT[what], tuple(inputs))
             for i, (what, inputs, *_) in enumerate(net.nodes)]  # fmt: skip
    steps.append(Step("", OUTPUT, (len(steps) - 1,)))
    return Checkpoint(entries, "keras", "keras", {"layers": layers}, steps=tuple(steps))


def arrays_of(net, names, loaded):
    """What `arrays` gives, out of arrays by Keras's names."""
    found = {}
    for i, name in names.items():
        own = {leaf.rpartition("/")[2]: value for leaf, value in loaded.items()
               if leaf.rpartition("/")[0] == name.replace(".", "_")}  # fmt: skip
        if net.nodes[i][0] == "norm":
            own = {leaf: own[its] for leaf, its in LEAVES.items() if its in own}
        elif "kernel" in own:
            value = own.pop("kernel")
            own["weight"] = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
        found[i] = own
    return found
