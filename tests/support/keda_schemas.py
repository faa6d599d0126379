"""JSON schemas of the two kinds of KEDA's that infra/k8s uses, after KEDA's custom resource definitions (keda.sh/v1alpha1,
2.17 and newer), in our words: the fields that are there, and nothing of those that we have no use for.
"""

from typing import Any

_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_META = {"$ref": "#/$defs/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}
_BEHAVIOR = {"$ref": "#/$defs/io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerBehavior"}


def _fields(required: str = "", **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def _list(of: Any) -> dict[str, Any]:
    return {"type": "array", "items": of, "minItems": 1}


def _kind(kind: str, spec: Any) -> dict[str, Any]:
    return _fields(
        "apiVersion kind metadata spec",
        apiVersion={"const": "keda.sh/v1alpha1"},
        kind={"const": kind},
        metadata=_META,
        spec=spec,
    )


_TRIGGER = _fields(
    "type metadata",
    type={"enum": ["rabbitmq", "prometheus"]},
    name=_TEXT,
    metadata={"type": "object", "additionalProperties": _TEXT},
    metricType={"enum": ["AverageValue", "Value"]},
    useCachedMetrics={"type": "boolean"},
    authenticationRef=_fields("name", name=_TEXT, kind=_TEXT),
)
_SCALED = _fields(
    "scaleTargetRef triggers",
    scaleTargetRef=_fields(
        "name", name=_TEXT, apiVersion=_TEXT, kind=_TEXT, envSourceContainerName=_TEXT
    ),
    minReplicaCount=_COUNT,
    maxReplicaCount=_COUNT,
    idleReplicaCount=_COUNT,
    pollingInterval=_COUNT,
    cooldownPeriod=_COUNT,
    initialCooldownPeriod=_COUNT,
    fallback=_fields(
        "failureThreshold replicas", failureThreshold=_COUNT, replicas=_COUNT, behavior=_TEXT
    ),
    advanced=_fields(
        restoreToOriginalReplicaCount={"type": "boolean"},
        horizontalPodAutoscalerConfig=_fields(name=_TEXT, behavior=_BEHAVIOR),
    ),
    triggers=_list(_TRIGGER),
)
_AUTHENTICATION = _fields(
    secretTargetRef=_list(_fields("parameter name key", parameter=_TEXT, name=_TEXT, key=_TEXT))
)
KINDS = {
    "ScaledObject": _kind("ScaledObject", _SCALED),
    "TriggerAuthentication": _kind("TriggerAuthentication", _AUTHENTICATION),
}

TRIGGER_METADATA = {
    "rabbitmq": _fields(
        "protocol mode queueName value",
        protocol={"enum": ["amqp", "http", "auto"]},
        mode={"enum": ["QueueLength", "MessageRate"]},
        queueName=_TEXT,
        value=_TEXT,
        activationValue=_TEXT,
        vhostName=_TEXT,
        excludeUnacknowledged=_TEXT,
    ),
    "prometheus": _fields(
        "serverAddress query threshold",
        serverAddress=_TEXT,
        query=_TEXT,
        threshold=_TEXT,
        activationThreshold=_TEXT,
        namespace=_TEXT,
        ignoreNullValues={"enum": ["true", "false"]},
        unsafeSsl={"enum": ["true", "false"]},
        timeout=_TEXT,
    ),
}
"""What each scaler takes in its metadata, which the definition leaves open; as its documentation has it."""
