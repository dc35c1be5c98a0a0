"""Ray reads these when it is imported: this module is imported before it, and sets what the user has not."""

import os

QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # they cost a third of the throughput, and import torch
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial's last word is its reason, without metrics
    "TUNE_WARN_THRESHOLD_S": "10",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths in a user's function mean what they say
    "RAY_AUTH_MODE": "token",  # Ray's own default since 2.60; said aloud, it does not warn
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}

for name, value in QUIET.items():
    os.environ.setdefault(name, value)
