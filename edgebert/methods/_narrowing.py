"""A narrow BERT's weights from a wide model's: what is looked at on training rows, what is projected, what is fitted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgebert.methods._projection import (
    Moments,
    Projection,
    correction,
    heads_of,
    narrowed_heads,
    norm_fit,
    strongest,
)
from edgebert.methods._teacher_weights import embedding_norm, tables_of
from edgebert.modeling.checkpoint import accepted
from edgebert.modeling.headed import HeadedEncoder
from edgebert.modeling.roles import layer_modules, layers_of
from edgebert.runtime.specs import ATTENTION_MASK

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from edgebert.modeling.config import ModelConfig

Batches = Sequence[Mapping[str, Tensor]]


@dataclass(frozen=True)
class Site:
    """A layer norm of the residual stream, and the linear layer whose output it reads: None for the embedding's."""

    norm: Any  # nn.LayerNorm
    dense: Any  # nn.Linear


def sites_of(model: PreTrainedModel, layers: Sequence[int]) -> list[Site]:
    """The embedding's, then two of each of these layers: after attention, after the feed-forward."""
    norm = next(m for name, m in model.named_modules() if name.endswith("embeddings.LayerNorm"))
    results = [Site(norm, None)]
    for modules in (layer_modules(layers_of(model)[i]) for i in layers):
        results += [Site(modules["attention norm"], modules["attended"]), Site(modules["norm"], modules["outer"])]
    return results


def watched(
    model: PreTrainedModel, batches: Batches, modules: Sequence[nn.Module]
) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """For each batch, of each module its input and its output: (tokens, n) at real tokens, (rows, n) without tokens."""
    seen: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen[module] = inputs[0], output

    hooks = [module.register_forward_hook(hook) for module in modules]
    try:
        for batch in batches:
            mask = batch[ATTENTION_MASK].bool()
            with torch.no_grad():
                model(**accepted(model, batch))
            yield [tuple(entry[mask] if entry.dim() == 3 else entry for entry in seen[m]) for m in modules]  # type: ignore[misc]
    finally:
        for item in hooks:
            item.remove()


def all_of(model: PreTrainedModel, batches: Batches, module: nn.Module) -> tuple[Tensor, Tensor]:
    """A module's inputs and outputs over all batches."""
    return _joined([result for (result,) in watched(model, batches, [module])])


# ---------------------------------------------------------------- what the wide model computes


@dataclass(frozen=True)
class ActivationStatistics:
    """What a wide model computes on training rows.

    Attributes:
        states: of all that its norms give.
        contexts: of each layer, of the heads' values side by side, before the output.
        neurons: of each layer, means (n,) and variances (n,) of the feed-forward's neurons.
        scale: (width,), the mean scale of the norms.
        heads: by their prefix, what the dense layer (if any) and the last one read and gave.
    """

    states: Moments
    contexts: tuple[Moments, ...]
    neurons: tuple[tuple[Tensor, Tensor], ...]
    scale: Tensor
    heads: Mapping[str, list[tuple[Tensor, Tensor]]]


def look(model: PreTrainedModel, batches: Batches, sites: Sequence[Site]) -> ActivationStatistics:
    """One pass over the batches; of the layers nothing is kept but sums."""
    norms, attended, outer = [s.norm for s in sites], [s.dense for s in sites[1::2]], [s.dense for s in sites[2::2]]
    of_heads = {prefix: [item for item in pair if item is not None] for prefix, pair in head_layers(model).items()}
    flat = [module for modules in of_heads.values() for module in modules]
    sums: list[list[list[Tensor]]] = [[] for _ in range(1 + len(attended) + len(outer))]
    answers: dict[nn.Module, list[tuple[Tensor, Tensor]]] = {module: [] for module in flat}
    for result in watched(model, batches, [*norms, *attended, *outer, *flat]):
        states = torch.cat([gave for _, gave in result[: len(norms)]])
        read = [given for given, _ in result[len(norms) : len(result) - len(flat)]]
        for at, vectors in enumerate([states, *read]):
            second = vectors.T @ vectors if at <= len(attended) else vectors.square().sum(0)
            sums[at].append([torch.tensor(float(len(vectors))), vectors.sum(0), second])
        for module, pair in zip(flat, result[len(result) - len(flat) :], strict=True):
            answers[module].append(pair)
    means = []
    for own in sums:
        n, first, second = (torch.stack(parts).sum(0) for parts in zip(*own, strict=True))
        means.append((first / n, second / n))
    whole, *read_means = means
    contexts = tuple(Moments(*item) for item in read_means[: len(attended)])
    neurons = tuple((mean, square - mean.square()) for mean, square in read_means[len(attended) :])
    scale = torch.stack([norm.weight.detach() for norm in norms]).mean(0)
    heads = {prefix: [_joined(answers[module]) for module in modules] for prefix, modules in of_heads.items()}
    return ActivationStatistics(Moments(*whole), contexts, neurons, scale, heads)


def _joined(pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    given, gave = zip(*pairs, strict=True)
    return torch.cat(given), torch.cat(gave)


# ---------------------------------------------------------------- what is projected


def project_tables(model: PreTrainedModel, config: ModelConfig, to: Projection) -> dict[str, Tensor]:
    """The narrow tables of words, positions and types, and a first scale of their norm, by BERT's names."""
    words, places, types = tables_of(model, config.type_vocab_size)
    if places is None:
        places = torch.zeros(config.max_position_embeddings, words.shape[1])
    tables = {"word": words, "position": places, "token_type": types}
    results = {f"embeddings.{name}_embeddings.weight": table @ to.encode.T for name, table in tables.items()}
    return results | _norm("embeddings.LayerNorm", *embedding_norm(model, words.shape[1]), to)


def _norm(name: str, scale: Tensor, shift: Tensor, to: Projection) -> dict[str, Tensor]:
    """√(H / k) · diag(A diag(γ) Aᵀ): a narrow vector of the same length has a larger deviation."""
    k, n = to.encode.shape
    narrow = (n / k) ** 0.5 * (to.encode.square() @ scale)
    return {f"{name}.weight": narrow, f"{name}.bias": to.encode @ shift}


def project_layer(
    weights: Mapping[str, Tensor],
    seen: ActivationStatistics,
    layer: int,
    to: Projection,
    config: ModelConfig,
    n_heads: int,
) -> dict[str, Tensor]:
    """A narrow layer's weights from those of a wide one with `n_heads` heads, both by BERT's names."""
    n, width = config.num_attention_heads, config.hidden_size
    heads = narrowed_heads(heads_of(weights, n_heads), seen.contexts[layer], seen.states, to, n, width // n)
    results = {}
    for name in ("query", "key", "value"):
        results[f"attention.self.{name}.weight"] = getattr(heads, name).flatten(0, 1)
        results[f"attention.self.{name}.bias"] = getattr(heads, f"{name}_bias").flatten()
    results["attention.output.dense.weight"] = heads.output.transpose(0, 1).flatten(1)
    results["attention.output.dense.bias"] = heads.bias
    for name in ("attention.output.LayerNorm", "output.LayerNorm"):
        results |= _norm(name, weights[f"{name}.weight"], weights[f"{name}.bias"], to)
    weight, bias = to.reading(weights["intermediate.dense.weight"], weights["intermediate.dense.bias"])
    last, shift = to.writing(weights["output.dense.weight"], weights["output.dense.bias"])
    mean, variance = seen.neurons[layer]
    kept, lost = split(variance * last.square().sum(0), config.intermediate_size)
    results["intermediate.dense.weight"], results["intermediate.dense.bias"] = weight[kept], bias[kept]
    results["output.dense.weight"], results["output.dense.bias"] = last[:, kept], shift + last[:, lost] @ mean[lost]
    return results


def split(energies: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Indices of the n largest, and of the others, both in their old order."""
    kept = strongest(energies, n)
    others = torch.ones(len(energies), dtype=torch.bool)
    others[kept] = False
    return kept, others.nonzero()[:, 0]


# ---------------------------------------------------------------- heads


def head_layers(model: PreTrainedModel) -> dict[str, tuple[Any, Any]]:
    """Of each head of labels or spans, by the prefix of its names in a student: its dense layer (or None) and its last."""
    if isinstance(model, HeadedEncoder):
        return {
            f"heads.{key}.": (getattr(head, "dense", None), head.classifier)
            for key, head in model.heads.items()
            if hasattr(head, "classifier")
        }
    modules = {name.removeprefix(f"{model.base_model_prefix}."): module for name, module in model.named_modules()}

    def first(*names: str) -> nn.Module | None:
        return next((modules[name] for name in names if isinstance(modules.get(name), nn.Linear)), None)

    last = first("classifier.out_proj", "classifier", "qa_outputs")
    dense = first("classifier.dense", "pooler.dense", "pre_classifier") if _reads_first(model) else None
    return {"": (dense, last)} if last is not None else {}


def _reads_first(model: PreTrainedModel) -> bool:
    return "ForSequenceClassification" in type(model).__name__


def head_weights(model: PreTrainedModel, seen: ActivationStatistics, to: Projection) -> dict[str, Tensor]:
    """The narrow student's heads. Vectors are projected; a dense layer keeps the neurons that matter, under tanh."""
    results: dict[str, Tensor] = {}
    for prefix, (dense, last) in head_layers(model).items():
        name = f"{prefix}classifier" if prefix or not hasattr(model, "qa_outputs") else "qa_outputs"
        weight, bias = last.weight.detach(), last.bias.detach()
        if dense is None:
            weight, bias = to.reading(weight, bias)
        else:
            own, (weight, bias) = _dense_head(dense, last, seen.heads[prefix], to)
            at = f"{prefix}dense" if prefix else "pooler.dense"
            results |= dict(zip((f"{at}.weight", f"{at}.bias"), own, strict=True))
        results |= {f"{name}.weight": weight, f"{name}.bias": bias}
    return results | _vector_weights(model, to)


def _dense_head(
    dense: nn.Linear, last: nn.Linear, seen: Sequence[tuple[Tensor, Tensor]], to: Projection
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Weight and bias of a narrow dense layer and of the last one. Where the wide head has no tanh between them, the
    narrow one starts from the states alone, brought to a deviation of 1/2, and its last layer is left to the fit."""
    (states, before), (neurons, answers) = seen
    weight, bias, n = last.weight.detach(), last.bias.detach(), len(to.encode)
    if torch.allclose(before.tanh(), neurons, atol=1e-4):
        kept, lost = split(neurons.var(0) * weight.square().sum(0), n)
        own = to.reading(dense.weight.detach(), dense.bias.detach())
        return (own[0][kept], own[1][kept]), (weight[:, kept], bias + weight[:, lost] @ neurons[:, lost].mean(0))
    narrow = states @ to.encode.T
    spread = 0.5 / narrow.std(0).clamp(min=1e-3)
    return (torch.diag(spread), -spread * narrow.mean(0)), (torch.zeros(len(weight), n), answers.mean(0))


def _vector_weights(model: PreTrainedModel, to: Projection) -> dict[str, Tensor]:
    """Of each sentence vector's own modules the first that is linear: it reads pooled states, several side by side too."""
    results: dict[str, Tensor] = {}
    for key, head in model.heads.items() if isinstance(model, HeadedEncoder) else ():
        linear = {f"heads.{key}.projection": getattr(head, "projection", None)}
        for i, step in enumerate(getattr(head, "steps", ())):
            if step.kind == "dense":
                linear = {f"heads.{key}.steps.{i}.linear": step.linear}
                if step.is_residual:
                    linear[f"heads.{key}.steps.{i}.residual"] = getattr(step, "residual", None)
                break
        for name, module in linear.items():
            if name.endswith("residual") and module is None:  # as wide as what it read; the narrow one needs a map
                results[f"{name}.weight"] = torch.block_diag(*[to.decode] * (step.linear.in_features // len(to.decode)))
            if isinstance(module, nn.Linear):
                parts = module.weight.detach().split(len(to.decode), 1)
                results[f"{name}.weight"] = torch.cat([part @ to.decode for part in parts], 1)
                if module.bias is not None:
                    results[f"{name}.bias"] = module.bias.detach() + sum(part @ to.offset for part in parts)
    return results


# ---------------------------------------------------------------- what is fitted


def fit_sites(
    narrow: PreTrainedModel,
    own: Sequence[Site],
    wide: PreTrainedModel,
    theirs: Sequence[Site],
    batches: Batches,
    to: Projection,
) -> None:
    """Fits, in place and in order, what the narrow model's norms read and give to the wide model's, projected."""
    results = [
        [(given @ to.encode.T, gave @ to.encode.T) for given, gave in batch]
        for batch in watched(wide, batches, [site.norm for site in theirs])
    ]
    for site, pairs in zip(own, zip(*results, strict=True), strict=True):
        given, gave = _joined(pairs)
        looked = [site.norm] if site.dense is None else [site.norm, site.dense]
        (states, _), *read = (_joined(own) for own in zip(*watched(narrow, batches, looked), strict=True))
        with torch.no_grad():
            for inputs, _ in read:
                weight, bias = correction(inputs, given - states)
                _add(site.dense, weight, bias)
                states = states + inputs @ weight.T + bias
            normed = F.layer_norm(states, states.shape[1:], eps=site.norm.eps)
            scale, shift = norm_fit(normed, gave, site.norm.weight)
            site.norm.weight.copy_(scale)
            site.norm.bias.copy_(shift)


def fit_heads(narrow: PreTrainedModel, seen: ActivationStatistics, batches: Batches) -> None:
    """Fits, in place, the last layer of each head of labels or spans to the wide model's answers."""
    for prefix, (_, last) in head_layers(narrow).items():
        read, answers = all_of(narrow, batches, last)
        with torch.no_grad():
            _add(last, *correction(read, seen.heads[prefix][-1][1] - answers))


def _add(layer: nn.Linear, weight: Tensor, bias: Tensor) -> None:
    layer.weight.add_(weight)
    layer.bias.add_(bias)
