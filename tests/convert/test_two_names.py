"""`batchnorm.convert` is a function and a subpackage; both can be reached in every usual way."""

import importlib
import inspect
import pickle
import sys

import numpy as np

import batchnorm as bn
import batchnorm.convert
import batchnorm.convert.report
from batchnorm.convert import Report

STATE = {f"n.{k}": np.ones(2) for k in ("weight", "bias", "running_mean", "running_var")}


def test_the_function_stays_the_function_whatever_is_imported():
    for name in sorted(n for n in sys.modules if n.startswith("batchnorm.convert")):
        importlib.import_module(name)
    assert inspect.isfunction(bn.convert)
    assert batchnorm.convert is bn.convert
    assert bn.convert(STATE, to="keras").report.exit_code == 0


def test_the_subpackage_is_what_import_finds():
    module = importlib.import_module("batchnorm.convert")
    assert inspect.ismodule(module)
    assert module.Report is Report
    assert module.convert is bn.convert


def test_functions_and_reports_can_be_pickled():
    report = bn.convert(STATE, to="keras").report
    assert pickle.loads(pickle.dumps(report)) == report
    for function in (bn.convert, bn.compare, bn.inspect, bn.fold, bn.unfold):
        assert pickle.loads(pickle.dumps(function)) is function
