"""Small nets drawn at random: one width throughout, so that shapes tell nothing; names and order of
registration drawn too; names that count do so as the layers run. Computed in NumPy, so that what
an assignment does can be seen."""

import numpy as np

WIDTH = 6
WORDS = (
    "amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron", "inlet", "jade",
    "kelp", "lotus", "maple", "north", "olive", "pearl", "quartz", "raven", "slate", "thorn",
    "umber", "vale", "willow", "xenon", "yarrow", "zephyr",
)  # fmt: skip
BLOCKS = ("plain", "chain", "residual", "projected", "concatenated", "uneven", "preactivated")
SCHEMES = ("numbered", "blocks", "counted", "words", "nested", "hex", "typed", "paired")
ORDERS = ("run", "kinds exchanged", "pairs exchanged", "shuffled", "shuffled in blocks", "by kind",
          "blocks shuffled")  # fmt: skip


class Net:
    """Nodes (operation, inputs, kernel size, width in); `block` and `role` of those with arrays."""

    def __init__(self, random):
        self.nodes, self.block, self.role = [], {}, {}
        x = self._unit(self.add("input"), 0, 1, inputs=3)
        for b in range(1, random.randint(2, 4)):
            x = self._block(random.choice(BLOCKS), x, b, random)
        self.add("dense", [self.add("mean", [x])], block=99, role="fc")

    def add(self, what, inputs=(), size=1, width=WIDTH, block=None, role=""):
        i = len(self.nodes)
        self.nodes.append((what, list(inputs), size, width))
        if block is not None:
            self.block[i], self.role[i] = block, role
        return i

    def _unit(self, x, b, n, size=3, inputs=WIDTH, relu=True, branch=False):
        names = ("downsample.0", "downsample.1") if branch else (f"conv{n}", f"bn{n}")
        conv = self.add("conv", [x], size, inputs, b, names[0])
        norm = self.add("norm", [conv], block=b, role=names[1])
        return self.add("relu", [norm]) if relu else norm

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
            return self._unit(y, b, 3, 1, 2 * WIDTH)
        if kind == "uneven":
            y = self._unit(self._unit(x, b, 1), b, 2)
            return self.add("add", [self._unit(x, b, 3), y])
        norm = self.add("norm", [x], block=b, role="bn1")
        y = self.add("conv", [self.add("relu", [norm])], 3, WIDTH, b, "conv1")
        return self.add("add", [y, x])

    def arrays(self, seed):
        """Each layer's arrays, by torch's names."""
        random, found = np.random.default_rng(seed), {}
        draw = lambda *shape: random.normal(0, 1, shape).astype("f4")  # noqa: E731
        for i in self.block:
            what, _, size, width = self.nodes[i]
            if what == "conv":
                found[i] = {"weight": draw(WIDTH, width, size, size) / np.sqrt(width) / size}
            elif what == "dense":
                found[i] = {"weight": draw(4, WIDTH), "bias": draw(4)}
            else:
                found[i] = {"weight": draw(WIDTH) / 3 + 1, "bias": draw(WIDTH) / 3}
                found[i] |= {"running_mean": draw(WIDTH) / 3}
                found[i] |= {"running_var": random.uniform(0.5, 1.5, WIDTH).astype("f4")}
        return found

    def logits(self, arrays, x):
        """What the net puts out for x, (n, 3, h, w)."""
        values = []
        for i, (what, inputs, _, _) in enumerate(self.nodes):
            given = [values[j] for j in inputs]
            values.append(_computed(what, given, arrays.get(i, {})) if inputs else x)
        return values[-1]

    def names(self, scheme, random):
        """A name for each layer."""
        words = [f"{a}_{b}" for a in WORDS for b in WORDS]
        parents = list(WORDS)
        for own in (words, parents):
            random.shuffle(own)
        found, count, parent, tag = {}, {}, {}, {}
        bases = {"conv": ("conv2d", "_conv", "conv"), "dense": ("dense", "_fc", "fc"),
                 "norm": ("batch_normalization", "_bn", "bn")}  # fmt: skip
        for n, i in enumerate(self.block):
            what, inputs, _, _ = self.nodes[i]
            long, end, short = bases[what]
            if scheme == "numbered":
                found[i] = f"layers.{n}"
            elif scheme == "blocks":
                found[i] = "fc" if what == "dense" else f"stage{self.block[i]}.{self.role[i]}"
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
        elif how != "run":
            layers = self._exchanged(layers, how, random)
        return layers

    def _exchanged(self, layers, how, random):
        """Layers of one shape in each other's places: the shapes' order stays."""
        norm_of = {self.nodes[i][1][0]: i for i in layers if self.nodes[i][0] == "norm"}
        classes = {}
        for i in layers:
            pair = how == "pairs exchanged"
            if not pair or self.nodes[i][0] != "norm":
                key = (self.nodes[i][0], *self.nodes[i][2:], pair and i in norm_of)
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
    return np.concatenate(given, 1) if what == "concat" else x.mean((2, 3))


def state(arrays, names, order):
    """A torch state of these layers."""
    return {f"{names[i]}.{leaf}": value for i in order for leaf, value in arrays[i].items()}
