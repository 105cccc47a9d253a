"""The virtual annotators: what is right in each task."""

from bcprobe.annotators.animal_behavioral_tracking import AnimalBehaviorPolicy
from bcprobe.annotators.animal_limb_tracking import AnimalLimbPolicy
from bcprobe.annotators.cell_lineage_tracking import CellLineagePolicy
from bcprobe.annotators.colored_dot_tracking import ColoredDotPolicy
from bcprobe.annotators.exploration_classification_3d import ExplorationPolicy
from bcprobe.annotators.multichannel_image_alignment import AlignmentPolicy
from bcprobe.annotators.neuron_tracking import NeuronPolicy
from bcprobe.annotators.policy import Policy
from bcprobe.annotators.road_network_construction import RoadNetworkPolicy
from bcprobe.annotators.shape_matching import ShapeMatchingPolicy
from bcprobe.annotators.spectral_plume_finding import PlumePolicy
from bcprobe.errors import check_name

#: One policy per task, by the task's name.
ANNOTATORS: dict[str, Policy] = {
    "colored_dot_tracking": ColoredDotPolicy(),
    "cell_lineage_tracking": CellLineagePolicy(),
    "multichannel_image_alignment": AlignmentPolicy(),
    "animal_limb_tracking": AnimalLimbPolicy(),
    "animal_behavioral_tracking": AnimalBehaviorPolicy(),
    "neuron_tracking": NeuronPolicy(),
    "3d_exploration_classification": ExplorationPolicy(),
    "spectral_plume_finding": PlumePolicy(),
    "road_network_construction": RoadNetworkPolicy(),
    "shape_matching": ShapeMatchingPolicy(),
}


def get_annotator(task: str) -> Policy:
    """The policy for a task. Raises `InputError` with the nearest task name."""
    return ANNOTATORS[check_name("task", task, ANNOTATORS)]
