"""Hidden states of sampled responses: capturing them, keeping them, reading them for training.

``cache``    a folder of shards with checksums, appended to and resumed
``dataset``  its responses as padded batches ``hidden [B, T, H], mask, labels``
``capture``  sampling in the serving engine, with the states it computed (``worker``, ``recorder``)
``prefill``  the states of one teacher-forced pass of ``transformers``, and their mismatch
``scoring``  a head's values along the responses, as calibration reads them
"""

from value_steer.features.cache import CacheSpec, FeatureCache
from value_steer.features.dataset import FeatureBatch, FeatureDataset, collate, loader
from value_steer.features.records import Prompt, Response, ResponseFeatures, ResponseKey

__all__ = [
    "CacheSpec",
    "FeatureBatch",
    "FeatureCache",
    "FeatureDataset",
    "Prompt",
    "Response",
    "ResponseFeatures",
    "ResponseKey",
    "collate",
    "loader",
]
