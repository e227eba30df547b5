"""The folder that an application takes home: model, tokenizer, labels, golden vectors and a manifest of them all."""

from edgebert.bundle.check import BundleCheck as BundleCheck
from edgebert.bundle.check import check_bundle as check_bundle
from edgebert.bundle.predictor import Predictor as Predictor
from edgebert.bundle.write import write_bundle as write_bundle
