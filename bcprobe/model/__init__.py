"""The network, under the names that TransformerLens knows; it knows no task.

`transformer` is the network and `heads` what it answers with. `hooked` is what TransformerLens's
users ask of it, `cache` its activations, `adapter` its place in TransformerLens's tools.
"""
