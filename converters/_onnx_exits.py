"""A graph that stops computing where its answer is known: If around what only later answers need.

A model with exits (`edgebert.modeling.exits`) is exported as a plain graph that ends in a chain of Where, each of which takes an
exit's answer for the rows that stop there. In a file each Where stands in an If, with all that the exit does not need: when every
row of a batch stops, none of it is computed. What a row gets is what the plain graph gives it, whatever shares its batch.

Quantizers and other passes read plain graphs: `edgebert.converters._onnx_file` takes the Ifs out of a file when it is loaded, and
puts them in when it is saved. Weights lie in the graph that reads them, so that ONNX Runtime packs them as it does others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

EXIT = "_exit"  # how the name of an If of ours ends
NOTE = "exits"  # in a file's metadata: how many it has
PASSED = ("Cast", "Identity")  # between an answer and the output


def with_exits(model: ModelProto) -> None:
    """Puts what later answers need into If nodes; a graph that ends in no Where stays as it is. In place."""
    if len(model.graph.output) != 1:
        return
    nodes = _nested(list(model.graph.node), model.graph.output[0].name)
    if len(nodes) == len(model.graph.node):
        return
    weights = {item.name: item for item in model.graph.initializer}
    del model.graph.node[:], model.graph.initializer[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    _place(model.graph, weights)
    model.metadata_props.add(key=NOTE, value=str(sum(map(_is_exit, every_node(model.graph)))))


def without_exits(model: ModelProto) -> None:
    """The plain graph of a file with exits; another one stays as it is. In place."""
    if not any(map(_is_exit, model.graph.node)):
        return
    weights = list(model.graph.initializer)
    nodes = _flat(model.graph.node, weights)
    live = _needed(nodes, [item.name for item in model.graph.output])
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(node for node in nodes if id(node) in live)
    model.graph.initializer.extend(weights)
    notes = [item for item in model.metadata_props if item.key != NOTE]
    del model.metadata_props[:]
    model.metadata_props.extend(notes)


def graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """A graph, and those in its exits."""
    yield graph
    for node in filter(_is_exit, graph.node):
        for item in node.attribute:
            yield from graphs(item.g)


def every_node(graph: GraphProto) -> Iterator[NodeProto]:
    """The nodes of a graph, and those in its exits."""
    return (node for part in graphs(graph) for node in part.node)


def _nested(nodes: Sequence[NodeProto], name: str) -> list[NodeProto]:
    """The nodes that make a tensor, in order; what only an answer behind an exit needs lies in an If."""
    from onnx import ValueInfoProto, helper

    chain = _chain(nodes, name)
    if not chain:
        return list(nodes)
    *tail, where = chain
    certain, early, late = where.input
    now = _needed(nodes, [certain, early])
    then = _needed(nodes, [late])
    out = where.output[0]
    inside = _nested([node for node in nodes if id(node) in then and id(node) not in now], late)
    chosen = helper.make_node("Where", [certain, early, late], [f"{out}_late"], name=f"{out}_late")
    branches = [
        helper.make_graph(part, f"{out}_{kind}", [], [ValueInfoProto(name=f"{out}_{kind}")])
        for kind, part in (
            ("early", [helper.make_node("Identity", [early], [f"{out}_early"], name=f"{out}_early")]),
            ("late", [*inside, chosen]),
        )
    ]
    return [
        *(node for node in nodes if id(node) in now),
        helper.make_node("Cast", [certain], [f"{out}_certain"], name=f"{out}_certain", to=6),
        helper.make_node("ReduceMin", [f"{out}_certain"], [f"{out}_least"], name=f"{out}_least", keepdims=0),
        helper.make_node("Cast", [f"{out}_least"], [f"{out}_all"], name=f"{out}_all", to=9),
        helper.make_node(
            "If", [f"{out}_all"], [out], name=f"{out}{EXIT}", then_branch=branches[0], else_branch=branches[1]
        ),
        *reversed(tail),
    ]


def _chain(nodes: Sequence[NodeProto], name: str) -> list[NodeProto]:
    """The nodes from a tensor back to the Where that chooses it; none where something else makes it."""
    makers = {output: node for node in nodes for output in node.output}
    results = []
    while (node := makers.get(name)) is not None:
        results.append(node)
        if node.op_type == "Where":
            return results
        if node.op_type not in PASSED:
            break
        name = node.input[0]
    return []


def _needed(nodes: Sequence[NodeProto], names: Iterable[str]) -> set[int]:
    """Ids of the nodes that these tensors are made by."""
    makers = {output: node for node in nodes for output in node.output}
    found: set[int] = set()
    rest = list(names)
    while rest:
        node = makers.get(rest.pop())
        if node is not None and id(node) not in found:
            found.add(id(node))
            rest += node.input
    return found


def _place(graph: GraphProto, weights: Mapping[str, TensorProto]) -> None:
    """Puts each weight into the outermost graph that reads it."""
    here = {name: weights[name] for node in graph.node for name in node.input if name in weights}
    graph.initializer.extend(here.values())
    left = {name: item for name, item in weights.items() if name not in here}
    for branch in (item.g for node in graph.node if _is_exit(node) for item in node.attribute):
        _place(branch, left)


def _flat(nodes: Iterable[NodeProto], weights: list[TensorProto]) -> list[NodeProto]:
    """The nodes with those inside of Ifs in their place, whose weights join `weights`."""
    results: list[NodeProto] = []
    for node in nodes:
        if not _is_exit(node):
            results.append(node)
            continue
        late = next(item.g for item in node.attribute if item.name == "else_branch")
        weights += late.initializer
        *inside, chosen = _flat(late.node, weights)
        chosen.output[0] = chosen.name = node.output[0]
        results += [*inside, chosen]
    return results


def _is_exit(node: NodeProto) -> bool:
    return node.op_type == "If" and node.name.endswith(EXIT)
