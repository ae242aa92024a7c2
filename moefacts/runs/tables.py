"""The files and columns of the tables that probes write into a run and analyses read."""

from moefacts.runs import keys
from moefacts.runs.probe_table import COUNT, NOT_NEGATIVE, NUMBER, SHARE, TEXT, Column, ProbeTable

# The measures of every evaluated value, all teacher-forced (training.evaluation.ValueMeasures).
VALUE_CONFIDENCE = "value_confidence"
ABSTAINED = "abstained"
VALUE_MEASURES = (*keys.EVALUATED, VALUE_CONFIDENCE, ABSTAINED)

CONFIDENCE = ProbeTable(
    "confidence",
    {
        "cohort": TEXT,
        "biography": COUNT,
        "individual": COUNT,
        "attribute": TEXT,
        "step": COUNT,
        keys.ATTRIBUTE_LOSS: NOT_NEGATIVE,
        keys.ATTRIBUTE_ACCURACY: SHARE,
        keys.MAX_PROBABILITY: SHARE,
        keys.ENTROPY: NOT_NEGATIVE,
        VALUE_CONFIDENCE: SHARE,
        ABSTAINED: SHARE,
    },
    key=("cohort", "biography", "attribute"),
    added=(ABSTAINED,),
)
DECISIONS = ProbeTable(  # what follows from the distribution over all values of an attribute: probes.decisions
    "decisions",
    {
        "step": COUNT,
        "cohort": TEXT,
        "individual": COUNT,
        "attribute": TEXT,
        "num_values": Column(is_whole=True, least=1, most=2.0**53),
        "right": Column(is_whole=True, least=0, most=1),
        "abstained": Column(is_whole=True, least=0, most=1),
        "confidence": SHARE,
        keys.ATTRIBUTE_LOSS: NOT_NEGATIVE,
        "value_entropy": NOT_NEGATIVE,
        "mass": SHARE,
    },
    key=("cohort", "individual", "attribute"),
)
ROUTER_DETECTION = ProbeTable(  # of people who were not shown: probes.router_detection
    "router_detection",
    {
        "cohort": TEXT,
        "layer": COUNT,
        "tokens": Column(is_text=True, each=("name_end", "before_value")),
        "signal": Column(is_text=True, each=("entropy", "experts")),
        "people": COUNT,
        "auroc": SHARE,
        "control": SHARE,
    },
    key=("cohort", "layer", "tokens", "signal"),
    is_complete=True,
    may_be_empty=True,  # a single person cannot be told from others
)
ATTENTION = ProbeTable(
    "attention",
    {
        "step": COUNT,
        "layer": COUNT,
        "signature": Column(
            is_text=True,
            each=("name_to_name", "attribute_to_name", "attribute_to_text", "name_entropy", "attribute_entropy"),
        ),
        "value": SHARE,
        "reference": SHARE,
    },
    key=("step", "layer", "signature"),
    is_complete=True,
)
RETENTION = ProbeTable(
    "retention",
    {
        "step": COUNT,
        "individual": COUNT,
        "times_shown": COUNT,
        "steps_since_shown": Column(least=0, unless_zero="times_shown"),
        keys.ATTRIBUTE_LOSS: NOT_NEGATIVE,
        keys.CONTROL_LOSS: NOT_NEGATIVE,
    },
    key=("step", "individual"),
    is_complete=True,
)
RETENTION_AT_END = ProbeTable(  # its rows of one checkpoint
    "retention_at_end", RETENTION.columns, key=RETENTION.key, is_complete=RETENTION.is_complete
)
EXPERT_USE = ProbeTable(
    "routing_use",
    {
        "layer": COUNT,
        "kind": Column(is_text=True, each=("role", "attribute")),
        "label": TEXT,
        "expert": COUNT,
        "share": SHARE,
    },
    key=("layer", "kind", "label", "expert"),
)
INFORMATION = ProbeTable(  # ``routing_information``, which earlier versions wrote, had information without a condition
    "routing_information_given_token",
    {
        "layer": COUNT,
        "weights": Column(is_text=True, each=("trained", "untrained")),
        "label": Column(is_text=True, each=("attribute_given_token", "individual_given_token", "token")),
        "information": NUMBER,
        "entropy": NUMBER,
        "fraction": NUMBER,
        "control": NUMBER,
    },
    key=("layer", "weights", "label"),
    is_complete=True,
)
VOCABULARY = ProbeTable("routing_vocabulary", {"layer": COUNT, "specialisation": SHARE}, key=("layer",))
COACTIVATION = ProbeTable(
    "routing_coactivation",
    {"layer": COUNT, "expert": COUNT, "other": COUNT, "share": SHARE},
    key=("layer", "expert", "other"),
    may_be_empty=True,  # a single expert has no other
)
SATURATION = ProbeTable(
    "routing_saturation",
    {"step": COUNT, "layer": COUNT, "saturation": SHARE},
    key=("step", "layer"),
    is_complete=True,
)
ABLATION = ProbeTable(
    "routing_ablation",
    {"layer": COUNT, "expert": COUNT, "attribute": TEXT, "loss_change": NUMBER},
    key=("layer", "expert", "attribute"),
    is_complete=True,
)
BIOGRAPHY = ProbeTable(
    "routing_biography",
    {"layer": COUNT, "position": COUNT, "token": TEXT, "role": TEXT, "expert": COUNT},
    key=("layer", "position"),
    is_complete=True,
)
_FINE_TUNED = {"step": COUNT, "cohort": TEXT}  # a checkpoint, and the cohort that is measured there
SHIFT = ProbeTable(  # of logits, in fine-tuning: probes.shift
    "shift",
    {
        **_FINE_TUNED,  # the cohort on whose people the common part is estimated
        "tested": TEXT,
        "attribute": TEXT,
        "people": COUNT,
        "halves": COUNT,
        "shift": NOT_NEGATIVE,
        "common_share": Column(unless_zero="shift"),
        "specific_share": Column(unless_zero="shift"),
        "accuracy_before": SHARE,
        "accuracy": SHARE,
        "accuracy_common_only": SHARE,
        "accuracy_common_removed": SHARE,
        "accuracy_random_shift": SHARE,
        "own_half_before": Column(least=-1e-3, most=1.001, unless_zero="halves"),
        "own_half": Column(least=-1e-3, most=1.001, unless_zero="halves"),
    },
    key=("step", "cohort", "tested", "attribute"),
)
_KNOWN = {keys.ATTRIBUTE_ACCURACY: SHARE, keys.ATTRIBUTE_LOSS: NOT_NEGATIVE}
RESTORED = ProbeTable(  # to step 0, one group of weights at a time: probes.restored_weights
    "restored_weights",
    {**_FINE_TUNED, "group": TEXT, "relative_change": NOT_NEGATIVE, **_KNOWN},
    key=("step", "cohort", "group"),
    is_complete=True,
)
CORRECTED = ProbeTable(  # after training: probes.restored_weights
    "corrected_weights",
    {**_FINE_TUNED, "method": TEXT, "amount": SHARE, "draw": COUNT, "estimated_on": TEXT, **_KNOWN},
    key=("step", "cohort", "method", "amount", "draw", "estimated_on"),
)
WRONG_ANSWERS = ProbeTable(  # and right ones, in fine-tuning: probes.wrong_answers
    "wrong_answers",
    {
        **_FINE_TUNED,
        "wrong": COUNT,
        "confidence_wrong": Column(least=-1e-3, most=1.001, unless_zero="wrong"),
        "right": COUNT,
        "confidence_right": Column(least=-1e-3, most=1.001, unless_zero="right"),
    },
    key=("step", "cohort"),
    is_complete=True,
)
REROUTED = ProbeTable(  # in fine-tuning: probes.rerouting
    "rerouted_tokens",
    {
        **_FINE_TUNED,
        "layer": COUNT,
        "tokens": Column(is_text=True, each=("all", "name_end", "before_value")),
        "moved": SHARE,
        "distance_to_learned": SHARE,
        "drawn": COUNT,
        "distance_by_chance": Column(least=-1e-3, most=1.001, unless_zero="drawn"),
    },
    key=("step", "cohort", "layer", "tokens"),
    is_complete=True,
)
EXPERT_CHANGE = ProbeTable(  # in fine-tuning: probes.rerouting
    "expert_change",
    {
        "step": COUNT,
        "layer": COUNT,
        "expert": COUNT,
        "relative_change": NOT_NEGATIVE,
        "old_use": SHARE,
        "learned_use": SHARE,
    },
    key=("step", "layer", "expert"),
    is_complete=True,
)
MECHANISM = ProbeTable(  # on one-sentence prompts: probes.mechanism
    "mechanism",
    {
        "step": COUNT,
        "cohort": TEXT,
        "values": TEXT,  # the person's own, or permuted ones as a control
        "measure": TEXT,
        "variant": TEXT,
        "place": TEXT,
        "layer": COUNT,
        "attribute": TEXT,
        "value": NUMBER,
    },
    key=("step", "cohort", "values", "measure", "variant", "place", "layer", "attribute"),
)
MECHANISM_SENTENCE = ProbeTable(  # one prompt, at the token before the value: probes.mechanism.sentence
    "mechanism_sentence",
    {
        "step": COUNT,
        "layer": COUNT,
        "position": COUNT,
        "token": TEXT,
        "attention": SHARE,  # from the last token of the prompt to this one
        "answer": TEXT,  # these three are the same at all positions
        "probability": SHARE,
        "right": Column(is_whole=True, least=0, most=1),
        "value": TEXT,
    },
    key=("step", "layer", "position"),
    is_complete=True,
    may_be_empty=True,  # a recurrence has no attention
)
MECHANISM_EXPERTS = ProbeTable(  # the same prompts without one expert: probes.mechanism.experts
    "mechanism_experts",
    {
        "layer": COUNT,
        "expert": COUNT,
        "mode": TEXT,  # silenced, or seeing another person's tokens
        "weight": SHARE,  # of the expert in the output, mean over all tokens
        "individual": COUNT,
        "attribute": TEXT,
        "probability": SHARE,  # of the true value with all experts
        "lost": Column(least=-1.001, most=1.001),
    },
    key=("layer", "expert", "mode", "individual", "attribute"),
    may_be_empty=True,  # a dense model has no experts
)
MECHANISM_RESTORED = ProbeTable(  # the last checkpoint with weights of an earlier one: probes.mechanism.restored
    "mechanism_restored",
    {"since": COUNT, "group": TEXT, "relative_change": NOT_NEGATIVE, **_KNOWN},
    key=("since", "group"),
    is_complete=True,
    may_be_empty=True,  # there may be no earlier one
)
EMERGENCE = ProbeTable(
    "mechanism_emergence", MECHANISM.columns, key=MECHANISM.key
)  # its main measures, at all checkpoints
RECALL = ProbeTable(  # of a simulation, which has no other table; accuracy is the share of a group's facts recalled
    "recall",
    {"arm": TEXT, "group": TEXT, "step": COUNT, "accuracy": SHARE},
    key=("arm", "group", "step"),
    is_complete=True,
)
KNOWN_PERSON = ProbeTable(  # at the end of a name: probes.known_person
    "known_person",
    {
        "layer": COUNT,  # 0: the embedding
        "people": COUNT,
        "auroc_logistic": SHARE,
        "auroc_means": SHARE,
        "auroc_permuted": SHARE,
        "auroc_names": SHARE,
        "confidence_unseen": SHARE,
        "confidence_unseen_added": SHARE,
        "confidence_unseen_random": SHARE,
        "confidence_seen": SHARE,
        "confidence_seen_subtracted": SHARE,
    },
    key=("layer",),
)
TEMPERATURE = ProbeTable(  # per attribute, after training: probes.temperature
    "temperature",
    {
        "attribute": TEXT,
        "fitted_on": TEXT,
        "tested": TEXT,
        "people": COUNT,
        "temperature": NOT_NEGATIVE,
        "loss": NOT_NEGATIVE,
        "loss_scaled": NOT_NEGATIVE,
        "confidence": SHARE,
        "confidence_scaled": SHARE,
        "accuracy": SHARE,
    },
    key=("attribute", "fitted_on", "tested"),
    is_complete=True,
)
ROUTING = (EXPERT_USE, INFORMATION, VOCABULARY, COACTIVATION, SATURATION, ABLATION, BIOGRAPHY)

# Probe -> its tables, which are written on request. (The confidence table is written when training ends.)
PROBES = {
    "routing": ROUTING,
    "attention": (ATTENTION,),
    "retention": (RETENTION,),
    "retention_at_end": (RETENTION_AT_END,),
    "decisions": (DECISIONS,),
    "router_detection": (ROUTER_DETECTION,),
    "shift": (SHIFT,),
    "restored_weights": (RESTORED, CORRECTED),
    "wrong_answers": (WRONG_ANSWERS,),
    "rerouting": (REROUTED, EXPERT_CHANGE),
    "known_person": (KNOWN_PERSON,),
    "temperature": (TEMPERATURE,),
    "mechanism": (MECHANISM, MECHANISM_SENTENCE, MECHANISM_EXPERTS, MECHANISM_RESTORED),
    "emergence": (EMERGENCE,),
}
ON_REQUEST = ("known_person", "temperature", "mechanism", "emergence")  # probes that no report needs
FINE_TUNING = ("shift", "restored_weights", "wrong_answers", "rerouting")  # those of what fine-tuning changes
# Those that are a part of another one, which takes their place: for studies whose many runs need no more.
PART_OF = {"retention_at_end": "retention"}
