"""Image processors of transformers, as `Preprocessing`: what their settings in a model's folder mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inference.encoders import EncoderError
from inference.encoders.folders import Folder, read_json
from inference.preprocessing import Preprocessing

# Processors that convert to RGB, resize, cut the middle, scale and normalise, in this order, by the settings alone
PLAIN = (
    "BeitImageProcessor",
    "BitImageProcessor",
    "BlipImageProcessor",
    "CLIPImageProcessor",
    "ChineseCLIPImageProcessor",
    "DINOv3ViTImageProcessor",  # resizes floating-point numbers: within half a grey level of the rounded ones
    "DeiTImageProcessor",
    "MobileNetV1ImageProcessor",
    "MobileNetV2ImageProcessor",
    "PvtImageProcessor",
    "SiglipImageProcessor",
    "ViTImageProcessor",
)
CONVNEXT, EFFICIENTNET = "ConvNextImageProcessor", "EfficientNetImageProcessor"
KNOWN = (*PLAIN, CONVNEXT, EFFICIENTNET)
FILES = ("preprocessor_config.json", "processor_config.json")
INTERPOLATIONS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # as Pillow numbers them
RESCALE = 1 / 255
SQUASHED = 384  # pixels: from this side on ConvNeXT's processor changes the aspect instead of cutting


class _Settings:
    """A processor's settings: as its file says, else as its class does. The library is imported for that only."""

    def __init__(self, name: str, said: Mapping[str, Any]) -> None:
        self.name, self.said = name, said

    def __getitem__(self, key: str) -> Any:
        value = self.said.get(key)
        return self._of_class(key) if value is None else value

    def _of_class(self, key: str) -> Any:
        import transformers

        found = getattr(transformers, f"{self.name}Pil", None) or getattr(transformers, self.name)
        return getattr(found, key, None)


def preprocessing_of(folder: Folder, model: str) -> Preprocessing | None:
    """What the folder's image processor does; None where it has none. Raises EncoderError where it does something
    that `Preprocessing` cannot say."""
    said = _said(folder)
    if said is None:
        return None
    name = _name(said, folder)
    if name not in KNOWN:
        raise _refused(model, f"its image processor {name} is not known here (known: {', '.join(KNOWN)})")
    settings = _Settings(name, said)
    for needed in ("do_resize", "do_rescale"):
        if not settings[needed]:
            raise _refused(model, f"its image processor has {needed}=false")
    if said.get("do_pad"):
        raise _refused(model, "its image processor pads images")
    mean, std = _normalization(settings)
    return Preprocessing(
        **_geometry(settings, model),
        mean=mean,
        std=std,
        interpolation=_interpolation(settings, model),
        crop_rounding="floor",
        alpha="white" if settings["do_convert_rgb"] else "drop",
        palette="rgb_first",
    )


def _said(folder: Folder) -> dict[str, Any] | None:
    """The newer file holds the settings of all of a model's processors, the older one those of images alone."""
    newer = folder.first(FILES[1])
    if newer is not None and isinstance(inside := read_json(newer, "encoder.model").get("image_processor"), dict):
        return inside
    older = folder.first(FILES[0])
    return None if older is None else read_json(older, "encoder.model")


def _name(said: Mapping[str, Any], folder: Folder) -> str:
    name = said.get("image_processor_type") or said.get("feature_extractor_type")
    if name is None:
        name = read_json(folder.path / "config.json", "encoder.model").get("image_processor_type") or _by_model(folder)
    name = str(name).removesuffix("Fast").removesuffix("Pil").replace("FeatureExtractor", "ImageProcessor")
    return "CLIPImageProcessor" if name == "AltCLIPImageProcessor" else name


def _by_model(folder: Folder) -> str:
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES

    kind = read_json(folder.path / "config.json", "encoder.model").get("model_type")
    found = IMAGE_PROCESSOR_MAPPING_NAMES.get(kind, {})
    return str(found.get("torchvision") or found.get("pil") or "without a name")


def _geometry(settings: _Settings, model: str) -> dict[str, Any]:
    """size, resize and resize_to."""
    size = _as_dict(settings["size"], square=settings["default_to_square"] is not False)
    if settings.name == CONVNEXT:
        side = _side(size, "shortest_edge", model)
        if side >= SQUASHED:
            return {"size": (side, side), "resize": "squash"}
        return {"size": (side, side), "resize": "shortest", "resize_to": int(side / settings["crop_pct"])}
    crop = _as_dict(settings["crop_size"], square=True) if settings["do_center_crop"] else None
    if set(size) == {"shortest_edge"}:
        if crop is None:
            raise _refused(model, "its image processor makes pictures of different sizes")
        return {
            "size": (_side(crop, "height", model), _side(crop, "width", model)),
            "resize": "shortest",
            "resize_to": _side(size, "shortest_edge", model),
        }
    height, width = _side(size, "height", model), _side(size, "width", model)
    if crop is None:
        return {"size": (height, width), "resize": "squash"}
    if height != width:
        raise _refused(model, f"its image processor resizes to {height}x{width} and then cuts")
    cut = (_side(crop, "height", model), _side(crop, "width", model))
    return {"size": cut, "resize": "squash", "resize_to": height}


def _as_dict(size: Any, square: bool) -> dict[str, Any]:
    """Files of older releases have one number."""
    if isinstance(size, int):
        return {"height": size, "width": size} if square else {"shortest_edge": size}
    if isinstance(size, (list, tuple)) and len(size) == 2:
        return {"height": size[0], "width": size[1]}
    return {key: value for key, value in dict(size or {}).items() if value is not None}


def _side(size: Mapping[str, Any], name: str, model: str) -> int:
    if not isinstance(size.get(name), int):
        raise _refused(model, f"its image processor's size is {dict(size)}")
    return int(size[name])


def _interpolation(settings: _Settings, model: str) -> Any:
    number = int(settings["resample"])
    if number not in INTERPOLATIONS:
        raise _refused(model, f"its image processor resizes by Pillow's filter {number}")
    return INTERPOLATIONS[number]


def _normalization(settings: _Settings) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of values in 0..1: what `(x * factor - offset - mean) / std` comes to."""
    factor = float(settings["rescale_factor"])
    normalize = bool(settings["do_normalize"])
    mean = _three(settings["image_mean"] if normalize else 0.0)
    std = _three(settings["image_std"] if normalize else 1.0)
    if settings.name == EFFICIENTNET:
        if settings["rescale_offset"]:
            mean = tuple(value + 1 for value in mean)
        if settings["include_top"]:
            std = tuple(value * again for value, again in zip(std, _three(settings["image_std"]), strict=True))
    if abs(factor - RESCALE) < 1e-9:
        return mean, std
    return tuple(value * RESCALE / factor for value in mean), tuple(value * RESCALE / factor for value in std)


def _three(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values) if isinstance(values, (list, tuple)) else (float(values),) * 3


def _refused(model: str, why: str) -> EncoderError:
    return EncoderError(f"{model}: {why}: give encoder.size, encoder.mean and encoder.std instead", "encoder.size")
