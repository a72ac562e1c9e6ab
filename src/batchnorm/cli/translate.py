"""`batchnorm translate`: one framework's call in another's words, with its proof."""

from __future__ import annotations

import sys
from typing import Any

import click

from batchnorm.cli.input import FrameworkName, standard_input
from batchnorm.cli.output import console, echo, echo_json
from batchnorm.frameworks import current, find, known
from batchnorm.translate.call import parse_call
from batchnorm.translate.proof import Proof
from batchnorm.translate.report import SCHEMA, as_data, print_translation
from batchnorm.translate.translation import Translation, translate

__all__ = ["command"]

_NAMES = ", ".join(record.name for record in known())


@click.command("translate", short_help="Write one framework's call in another's words.")
@click.argument("call")
@click.option("--from", "from_", metavar="FRAMEWORK", help=f"The call's framework: {_NAMES}.")
@click.option(
    "--to", required=True, type=FrameworkName("all"), help="The other one, or `all` others."
)
@click.option("--num-features", type=click.IntRange(1), help="Channels, which Keras doesn't name.")
@click.option("--rank", type=click.IntRange(2, 5), help="Rank of the inputs of a Keras layer: 4.")
@click.option(
    "--data-format",
    type=click.Choice(["NCHW", "NHWC"]),
    help="NHWC keeps channels last for MindSpore, which has that on GPU only.",
)
@click.option("--real", is_flag=True, help="Prove it on the installed frameworks too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--strict", is_flag=True, help="Exit 1 for predicted differences too.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but the call.")
@click.option("--no-color", is_flag=True, help="Print without colours.")
def command(
    call: str,
    from_: str | None,
    to: str,
    num_features: int | None,
    rank: int | None,
    data_format: str | None,
    real: bool,
    as_json: bool,
    strict: bool,
    quiet: bool,
    no_color: bool,
) -> None:
    """Write CALL, such as "nn.BatchNorm2d(64, momentum=0.01)", in another framework's words.

    The call is parsed, never evaluated; - reads it from standard input. Exit code: 0 if equal or
    different only as predicted, 1 if something can't be expressed or differs unpredicted, 2 for
    a call that can't be read.
    """
    if call == "-":
        call = standard_input().decode("utf-8", "surrogateescape")

    def one(name: str, source: str | None) -> Translation:
        return translate(
            call,
            to=name,
            from_=source,
            num_features=num_features,
            rank=rank,
            data_format=data_format,
        )

    if to == "all":
        source = find(from_).name if from_ is not None else parse_call(call).form.dialect.name
        names = [r.name for r in current() if r.framework != find(source).framework]
        found = [one(name, source) for name in names]
    else:
        found = [one(to, from_)]
    proofs = [_real(translation) if real else None for translation in found]
    if as_json:
        code = _exit_code(found, proofs, strict)
        echo_json(_data(found, proofs, strict), indent=2, exit_code=code)
    elif quiet:
        for translation in found:
            name = translation.plan.target.form.dialect.name
            echo(f"{name}: {translation.text}" if to == "all" else translation.text)
    else:
        out = console(width=None, no_color=no_color)
        for translation, proof in zip(found, proofs, strict=True):
            if len(found) > 1:
                out.rule(translation.plan.target.form.dialect.name, align="left")
            print_translation(translation, out, real=proof)
    sys.exit(_exit_code(found, proofs, strict))


def _exit_code(found: list[Translation], proofs: list[Proof | None], strict: bool) -> int:
    unpredicted = any(proof is not None and not proof.holds for proof in proofs)
    return max([int(unpredicted), *(t.exit_code(strict=strict) for t in found)])


def _data(found: list[Translation], proofs: list[Proof | None], strict: bool) -> dict[str, Any]:
    source = found[0].plan.source
    return {
        "schema": SCHEMA,
        "source": {
            "call": source.text,
            "dialect": source.form.dialect.name,
            "class": source.form.class_name,
            "inferred_from": found[0].inferred or None,
        },
        "translations": [as_data(t, real=p) for t, p in zip(found, proofs, strict=True)],
        "exit_code": _exit_code(found, proofs, strict),
    }


def _real(translation: Translation) -> Proof:
    from batchnorm.translate.real import prove_on_frameworks

    return prove_on_frameworks(translation.plan)
