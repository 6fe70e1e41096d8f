"""Hidden states of sampled responses: capturing them, keeping them, reading them for training.

``cache``    a folder of shards with checksums, appended to and resumed
``dataset``  its responses as padded batches ``hidden [B, T, H], mask, labels``
"""

from value_steer.features.cache import CacheSpec, FeatureCache
from value_steer.features.dataset import FeatureBatch, FeatureDataset, collate, loader
from value_steer.features.records import Response, ResponseFeatures, ResponseKey

__all__ = [
    "CacheSpec",
    "FeatureBatch",
    "FeatureCache",
    "FeatureDataset",
    "Response",
    "ResponseFeatures",
    "ResponseKey",
    "collate",
    "loader",
]
