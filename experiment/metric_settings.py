"""Which metrics a configuration may ask for: presets by their names, and classes with settings."""

from dnnlib.config_files import kind, nearest
from experiment.settings import check_section, mistake
from metrics import presets


def check_metrics(metrics, origins):
    """Raises UserError unless each is a preset's name, or settings that its class takes, under a name of its own."""
    if not isinstance(metrics, list):
        raise mistake(origins, 'metrics', f'must be a list such as [fid50k] or [], not {kind(metrics)}')
    named = {}
    for metric in metrics:
        if isinstance(metric, str):
            names = presets.preset_names()
            if metric not in names:
                raise mistake(origins, 'metrics', f"there is no metric '{metric}'{nearest(metric, names)} "
                              f"(known: {', '.join(names)})")
        elif not isinstance(metric, dict) or 'func_name' not in metric and 'preset' not in metric:
            raise mistake(origins, 'metrics', 'each one must be a name such as fid50k, or settings with func_name')
        elif not isinstance(metric.get('preset', ''), str):
            raise mistake(origins, 'metrics', 'a preset is given by its name, such as {preset: fid50k, num_images: 9}')
        resolved = presets.settings_of(metric)
        if not isinstance(metric, str):
            where = origins.get('metrics', 'the configuration')
            check_section('metric', resolved, {f'metric.{key}': where for key in resolved})
        if named.setdefault(resolved.get('name'), resolved) != resolved:
            raise mistake(origins, 'metrics', f"two metrics of different settings are called '{resolved['name']}'; "
                          'give one a name of its own, such as {preset: fid50k, num_images: 9, name: fid9}')
