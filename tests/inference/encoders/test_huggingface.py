"""encoder=huggingface: the vectors, pixels and tokens of transformers itself, from tiny models saved by it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers.utils import logging as library_log

from inference.encoders import Encoder, EncoderError, EncoderHandle, Look, NoTextSide, Runtime, describe
from inference.images import ImageFile
from tests.model_files import COMMIT, block_sockets, cosine_gap, image_files, into_hub_cache, look_at

SIDE = 64
VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION |= {"image_size": SIDE, "patch_size": 16}
TEXT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 40}
TEXT |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
SETTINGS = ("revision", "size", "resize", "interpolation", "channels", "mean", "std")
TEXTS = ["a cat", "a photo of a dog", "dog " * 90, "c"]
OWN = {"size": SIDE, "mean": [0.5], "std": [0.25]}


def vit(cls: Any = transformers.ViTModel) -> Any:
    return cls(transformers.ViTConfig(**VISION))


def clip() -> Any:
    text = TEXT | {"max_position_embeddings": 12}
    return transformers.CLIPModel(transformers.CLIPConfig(vision_config=VISION, text_config=text, projection_dim=16))


def siglip() -> Any:
    text = TEXT | {"max_position_embeddings": 16}
    made = transformers.SiglipModel(transformers.SiglipConfig(vision_config=VISION, text_config=text))
    with torch.no_grad():
        made.logit_scale.fill_(2.0)
        made.logit_bias.fill_(-3.0)
    return made


def mae() -> Any:
    decoder = {"decoder_hidden_size": 32, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2}
    return transformers.ViTMAEForPreTraining(transformers.ViTMAEConfig(**VISION, **decoder))


def swin() -> Any:
    sizes = {"embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4}
    return transformers.SwinModel(transformers.SwinConfig(image_size=SIDE, **sizes))


def projected() -> Any:
    config = transformers.CLIPVisionConfig(**VISION, projection_dim=16)
    return transformers.CLIPVisionModelWithProjection(config)


def registers() -> Any:
    return transformers.Dinov2WithRegistersModel(
        transformers.Dinov2WithRegistersConfig(**VISION, num_register_tokens=4)
    )


def two_towers(name: str, **text: Any) -> Callable[[], Any]:
    sizes = {k: v for k, v in TEXT.items() if not k.endswith("_id")} | {"max_position_embeddings": 24} | text

    def build() -> Any:
        config = getattr(transformers, f"{name}Config")
        return getattr(transformers, f"{name}Model")(config(vision_config=VISION, text_config=sizes, projection_dim=16))

    return build


def align() -> Any:
    vision = {"image_size": SIDE, "width_coefficient": 0.1, "depth_coefficient": 0.1, "hidden_dim": 32}
    text = {k: v for k, v in TEXT.items() if not k.endswith("_id")} | {"max_position_embeddings": 24}
    config = transformers.AlignConfig(
        vision_config=vision | {"pooling_type": "mean"}, text_config=text, projection_dim=32
    )
    made = transformers.AlignModel(config)
    for parameter in made.vision_model.parameters():
        if parameter.ndim == 4:  # else all images come out the same
            torch.nn.init.kaiming_normal_(parameter)
    return made


MODELS: dict[str, Callable[[], Any]] = {
    "clip": clip,
    "siglip": siglip,
    "align": align,
    "altclip": two_towers("AltCLIP", pad_token_id=0, project_dim=16, type_vocab_size=1),
    "chinese_clip": two_towers("ChineseCLIP", pad_token_id=0),
    "metaclip_2": two_towers("MetaClip2", bos_token_id=1, eos_token_id=2, pad_token_id=0),
    "dinov2": lambda: transformers.Dinov2Model(transformers.Dinov2Config(**VISION)),
    "registers": registers,
    "vit": vit,
    "vit_classifier": lambda: vit(transformers.ViTForImageClassification),
    "mae": mae,
    "beit": lambda: transformers.BeitModel(transformers.BeitConfig(**VISION, use_mean_pooling=True)),
    "swin": swin,
    "convnext": lambda: transformers.ConvNextModel(
        transformers.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)
    ),
    "resnet": lambda: transformers.ResNetModel(
        transformers.ResNetConfig(embedding_size=8, hidden_sizes=[16, 32], depths=[1, 1])
    ),
    "projected": projected,
}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    block_sockets(monkeypatch)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    level = library_log.get_verbosity()
    library_log.set_verbosity_error()
    library_log.disable_progress_bar()
    yield
    library_log.set_verbosity(level)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each model as save_pretrained writes it."""
    return {name: saved(name, tmp_path_factory.mktemp("models") / name) for name in MODELS}


def saved(name: str, folder: Path) -> Path:
    torch.manual_seed(7)
    model = MODELS[name]()
    with torch.no_grad():  # random biases and scales, which are constants at birth and would hide a mistake
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    return folder


def save_tokenizer(folder: Path, longest: int) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = ["<pad>", "<s>", "</s>", "<unk>", *"abcdefghijklmnopqrstuvwxyz", "cat", "dog", "photo", "of"]
    rules = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    rules.pre_tokenizer = pre_tokenizers.Whitespace()
    rules.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=rules, model_max_length=longest, **names).save_pretrained(
        folder
    )


def handle(model: Path | str, look: Look | None = None, **settings: Any) -> EncoderHandle:
    arguments = dict.fromkeys(SETTINGS) | {"model": str(model), "feature": "auto"} | settings
    return describe("huggingface", arguments, True, look or look_at(Path("nowhere")))


def refusal(model: Path | str, look: Look | None = None, **settings: Any) -> EncoderError:
    with pytest.raises(EncoderError) as caught:
        handle(model, look, **settings).load()
    assert "\n" not in caught.value.message
    return caught.value


def pixels(n: int = 5, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, channels, SIDE, SIDE), dtype=np.uint8)


def normalized(batch: np.ndarray) -> torch.Tensor:
    """As OWN says, computed here."""
    return (torch.from_numpy(batch).float() / 255 - 0.5) / 0.25


def of_library(folder: Path, cls: Any = transformers.AutoModel, **settings: Any) -> Any:
    return cls.from_pretrained(folder, **settings).eval()


CASES = [
    ("clip", "auto", "projection", lambda m, x: m.get_image_features(x).pooler_output),
    ("clip", "cls", "cls", lambda m, x: m.vision_model(x).last_hidden_state[:, 0]),
    ("siglip", "auto", "projection", lambda m, x: m.get_image_features(x).pooler_output),
    ("dinov2", "auto", "cls", lambda m, x: m(x).pooler_output),
    ("dinov2", "mean", "mean", lambda m, x: m(x).last_hidden_state[:, 1:].mean(1)),
    ("registers", "mean", "mean", lambda m, x: m(x).last_hidden_state[:, 5:].mean(1)),
    ("vit", "auto", "pooler", lambda m, x: m(x).pooler_output),
    ("vit", "cls", "cls", lambda m, x: m(x).last_hidden_state[:, 0]),
    ("vit_classifier", "auto", "cls", lambda m, x: m(x).last_hidden_state[:, 0]),
    ("beit", "auto", "pooler", lambda m, x: m(x).pooler_output),
    ("swin", "auto", "pooler", lambda m, x: m(x).pooler_output),
    ("convnext", "auto", "pooler", lambda m, x: m(x).pooler_output),
    ("convnext", "mean", "mean", lambda m, x: m(x).last_hidden_state.mean((2, 3))),
    ("resnet", "auto", "pooler", lambda m, x: m(x).pooler_output[:, :, 0, 0]),
]


@pytest.mark.parametrize(("name", "asked", "feature", "reference"), CASES, ids=lambda value: str(value)[:20])
def test_the_vectors_are_the_librarys(
    folders: dict[str, Path], name: str, asked: str, feature: str, reference: Callable[[Any, Any], torch.Tensor]
) -> None:
    made = handle(folders[name], feature=asked, **OWN)
    assert made.description.recognised.endswith(f"feature: {feature}")
    with torch.no_grad():
        expected = reference(of_library(folders[name]), normalized(pixels())).numpy()
    found = made.load().encode_images(pixels())
    assert found.dtype == np.float32 and found.shape == expected.shape
    assert cosine_gap(found, expected) < 1e-8
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)  # not scaled to length 1


def test_an_image_side_saved_with_its_projection(folders: dict[str, Path]) -> None:
    reference = of_library(folders["projected"], transformers.CLIPVisionModelWithProjection)
    with torch.no_grad():
        expected = reference(normalized(pixels())).image_embeds.numpy()
    assert cosine_gap(handle(folders["projected"], **OWN).load().encode_images(pixels()), expected) < 1e-8


def test_masked_autoencoders_see_every_patch_in_its_place(folders: dict[str, Path]) -> None:
    encoder = handle(folders["mae"], **OWN).load()
    first, again = encoder.encode_images(pixels()), encoder.encode_images(pixels())
    np.testing.assert_array_equal(first, again)
    reference = of_library(folders["mae"], transformers.ViTMAEModel, mask_ratio=0.0)
    with torch.no_grad():  # the library's own random order: a mean over tokens does not depend on it
        expected = reference(normalized(pixels())).last_hidden_state[:, 0].numpy()
    assert cosine_gap(first, expected) < 1e-8


@pytest.mark.parametrize("name", ["clip", "siglip", "align", "altclip", "chinese_clip", "metaclip_2"])
def test_texts_and_probabilities_are_the_librarys(folders: dict[str, Path], name: str) -> None:
    save_tokenizer(folders[name], 1000)
    encoder: Any = handle(folders[name], **OWN).load()
    model = of_library(folders[name])
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders[name])
    context = model.config.text_config.max_position_embeddings - (name == "altclip")
    padding = "max_length" if name == "siglip" else True
    tokens = tokenizer(TEXTS, padding=padding, truncation=True, max_length=context, return_tensors="pt")
    if name == "siglip":
        del tokens["attention_mask"]
    with torch.no_grad():
        both = model(**tokens, pixel_values=normalized(pixels()))
        expected = model.get_text_features(**tokens).pooler_output.numpy()
        shown = model.get_image_features(pixel_values=normalized(pixels())).pooler_output.numpy()
    texts = encoder.encode_texts(TEXTS)
    assert cosine_gap(texts, expected) < 1e-8
    assert encoder.truncated_texts == 1
    images = encoder.encode_images(pixels())
    assert cosine_gap(images, shown) < 1e-8
    unit = [vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (images, texts)]
    found = encoder.similarity_to_probability(unit[0] @ unit[1].T)
    logits = both.logits_per_image
    probability = logits.sigmoid() if name == "siglip" else logits.softmax(1)
    np.testing.assert_allclose(found, probability.numpy(), atol=1e-5)


def test_each_text_is_encoded_as_if_alone(folders: dict[str, Path]) -> None:
    save_tokenizer(folders["clip"], 1000)
    encoder = handle(folders["clip"], **OWN).load()
    together = encoder.encode_texts(TEXTS)
    assert cosine_gap(together, np.concatenate([encoder.encode_texts([text]) for text in TEXTS])) < 1e-8


def test_siglips_own_tokenizer(folders: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A SentencePiece file: lower case, no punctuation, padded to the context."""
    import sentencepiece

    (tmp_path / "corpus").write_text("a photo of a cat and a dog\n" * 50)
    sizes = {"vocab_size": 36, "hard_vocab_limit": False, "unk_id": 2, "eos_id": 1, "pad_id": 0, "bos_id": -1}
    made = {"input": str(tmp_path / "corpus"), "model_prefix": str(tmp_path / "spiece"), "minloglevel": 2}
    sentencepiece.SentencePieceTrainer.train(**made, **sizes)
    of_library(folders["siglip"]).save_pretrained(tmp_path)
    names = {"tokenizer_class": "SiglipTokenizer", "pad_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(names | {"model_max_length": 16}))
    encoder: Any = handle(tmp_path, **OWN).load()
    np.testing.assert_array_equal(encoder.encode_texts(["A Photo!"]), encoder.encode_texts(["a photo"]))
    tokens = encoder.text.tokenize(["a cat", "a photo of a dog " * 9, "猫"])
    batch = encoder.text.batch(tokens.rows, max(tokens.lengths))
    assert batch["input_ids"].shape == (3, 16) and list(batch) == ["input_ids"]
    assert tokens.cut.tolist() == [False, True, False] and tokens.unknown.tolist() == [False, False, True]


def test_image_models_have_no_text_side(folders: dict[str, Path]) -> None:
    made = handle(folders["dinov2"], **OWN)
    assert made.description.text_fingerprint is None
    with pytest.raises(NoTextSide, match="sees images only"):
        made.load().encode_texts(["a cat"])


PROCESSORS = [
    transformers.CLIPImageProcessorPil(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}),
    transformers.BitImageProcessorPil(size={"shortest_edge": 80}, crop_size={"height": 64, "width": 64}),
    transformers.SiglipImageProcessorPil(size={"height": 64, "width": 64}),
    transformers.ViTImageProcessorPil(size={"height": 64, "width": 64}),
    transformers.DeiTImageProcessorPil(size={"height": 73, "width": 73}, crop_size={"height": 64, "width": 64}),
    transformers.BeitImageProcessorPil(size={"height": 64, "width": 64}),
    transformers.ConvNextImageProcessorPil(size={"shortest_edge": 64}, crop_pct=0.875),
    transformers.ConvNextImageProcessorPil(size={"shortest_edge": 384}),
    transformers.EfficientNetImageProcessorPil(size={"height": 64, "width": 64}),
    transformers.EfficientNetImageProcessorPil(
        size={"height": 64, "width": 64}, rescale_factor=1 / 127.5, rescale_offset=True, include_top=False, resample=2
    ),
    transformers.DINOv3ViTImageProcessor(size={"height": 64, "width": 64}),
    transformers.BlipImageProcessorPil(size={"height": 64, "width": 64}),
    transformers.ChineseCLIPImageProcessorPil(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}),
    transformers.MobileNetV1ImageProcessorPil(size={"shortest_edge": 70}, crop_size={"height": 64, "width": 64}),
    transformers.MobileNetV2ImageProcessorPil(size={"shortest_edge": 70}, crop_size={"height": 64, "width": 64}),
    transformers.PvtImageProcessorPil(size={"height": 64, "width": 64}),
]


@pytest.mark.parametrize("processor", PROCESSORS, ids=lambda p: type(p).__name__)
def test_the_pixels_are_the_processors(folders: dict[str, Path], tmp_path: Path, processor: Any) -> None:
    """Within one grey level, by the exact and the fast path."""
    folder = with_processor(folders["convnext"], tmp_path / "model", processor)
    encoder: Any = handle(folder).load()
    fast: Any = handle(folder).at(Runtime(exact=False)).load()
    grey_level = 1.001 / 255 / min(encoder.preprocessing.std)
    for path in image_files(tmp_path):
        with Image.open(path) as opened:
            shown = opened if processor.do_convert_rgb else opened.convert("RGB")
            expected = processor(shown, return_tensors="pt").pixel_values[0].numpy()
        for one in (encoder, fast):
            batch = torch.from_numpy(one.preprocess(ImageFile(path))[None])
            found = one.preprocessing.normalized(batch, torch.float32)[0].numpy()
            assert found.shape == expected.shape
            assert np.abs(found - expected).max() <= grey_level, path.name


def with_processor(model: Path, target: Path, processor: Any) -> Path:
    target.mkdir()
    for file in model.iterdir():
        os.link(file, target / file.name)
    processor.save_pretrained(target)
    return target


def test_settings_of_older_files_mean_the_same(folders: dict[str, Path], tmp_path: Path) -> None:
    """One number for a size, the class of before, and what the class says by itself."""
    folder = with_processor(folders["vit"], tmp_path / "model", transformers.ViTImageProcessorPil())
    file = folder / "preprocessor_config.json"
    words = []
    for size, kind in ((64, "ViTFeatureExtractor"), ({"height": 64, "width": 64}, "ViTImageProcessorFast")):
        name = "feature_extractor_type" if "Feature" in kind else "image_processor_type"
        file.write_text(json.dumps({"size": size, name: kind}))
        words.append(handle(folder).description.preprocessing)
    assert words[0] == words[1] and "64x64" in words[0] and "bilinear" in words[0]


def test_the_newer_file_holds_the_image_processor_inside(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = with_processor(folders["clip"], tmp_path / "model", PROCESSORS[0])
    said = json.loads((folder / "preprocessor_config.json").read_text())
    before = handle(folder).description.preprocessing
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": said, "processor_class": "X"}))
    assert handle(folder).description.preprocessing == before


def test_own_settings_lie_over_the_models(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = with_processor(folders["dinov2"], tmp_path / "model", PROCESSORS[1])
    own = handle(folder).load()
    changed: Any = handle(folder, resize="squash", mean=[0.1, 0.2, 0.3], interpolation="bilinear").load()
    assert changed.preprocessing.mean == (0.1, 0.2, 0.3) and changed.preprocessing.std == own.preprocessing.std
    assert changed.preprocessing.resize == "squash" and changed.preprocessing.resize_to == 80
    assert handle(folder, size=32).load().preprocessing.resize_to is None
    assert own.description.image_fingerprint != changed.description.image_fingerprint


def test_grey_is_repeated_or_given_as_one_channel(folders: dict[str, Path], tmp_path: Path) -> None:
    config = transformers.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, num_channels=1)
    transformers.ConvNextModel(config).save_pretrained(tmp_path / "one")
    assert handle(tmp_path / "one", channels="gray", **OWN).load().encode_images(pixels(2, 1)).shape == (2, 16)
    assert "does not take images" in refusal(tmp_path / "one", **OWN).message
    repeated: Any = handle(folders["convnext"], channels="gray_rgb", **OWN).load()
    made = repeated.preprocess(ImageFile(image_files(tmp_path)[0]))
    np.testing.assert_array_equal(made[0], made[2])
    wrong = refusal(folders["convnext"], channels="gray", size=64, mean=[0.5, 0.5, 0.5], std=[1.0])
    assert wrong.key == "encoder.mean"


def test_what_is_missing_is_never_random(folders: dict[str, Path], tmp_path: Path) -> None:
    wrong = refusal(folders["vit_classifier"], feature="pooler", **OWN)
    assert wrong.key == "encoder.feature" and "choose cls or mean" in wrong.message
    one = tmp_path / "one"
    of_library(folders["dinov2"]).save_pretrained(one)
    tensors = load_file(one / "model.safetensors")
    name = "encoder.layer.0.norm1.weight"
    save_file({"layernorm.weight": tensors["layernorm.weight"]}, one / "model.safetensors", {"format": "pt"})
    message = refusal(one, **OWN).message
    assert "would be random" in message and "embeddings" in message
    del tensors[next(key for key in tensors if key.endswith(name.rsplit(".", 2)[-2] + ".weight"))]
    save_file(tensors, one / "model.safetensors", {"format": "pt"})
    assert "1 tensors are not in its weights" in refusal(one, feature="cls", **OWN).message


def test_weights_of_another_shape(folders: dict[str, Path], tmp_path: Path) -> None:
    one = tmp_path / "one"
    of_library(folders["dinov2"]).save_pretrained(one)
    config = json.loads((one / "config.json").read_text())
    (one / "config.json").write_text(json.dumps(config | {"hidden_size": 64}))
    assert "cannot load it" in refusal(one, **OWN).message


def test_older_weights_and_weights_in_parts(folders: dict[str, Path], tmp_path: Path) -> None:
    reference = handle(folders["dinov2"], **OWN).load().encode_images(pixels())
    model = of_library(folders["dinov2"])
    model.save_pretrained(tmp_path / "parts", max_shard_size="20KB")
    assert len(list((tmp_path / "parts").glob("model-*.safetensors"))) > 1
    old = tmp_path / "old"
    model.config.save_pretrained(old)
    torch.save(model.state_dict(), old / "pytorch_model.bin")
    for folder in (tmp_path / "parts", old):
        made = handle(folder, **OWN)
        assert len(made.description.hashes) == len(made.description.weights)
        np.testing.assert_array_equal(made.load().encode_images(pixels()), reference)


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


def test_code_in_weights_is_not_run(folders: dict[str, Path], tmp_path: Path) -> None:
    of_library(folders["dinov2"]).config.save_pretrained(tmp_path)
    torch.save({"a": torch.ones(2), "b": Bomb(tmp_path / "marker")}, tmp_path / "pytorch_model.bin")
    assert "run code" in refusal(tmp_path, **OWN).message
    assert not (tmp_path / "marker").exists()


def test_code_of_the_model_is_not_run(folders: dict[str, Path], tmp_path: Path) -> None:
    of_library(folders["dinov2"]).save_pretrained(tmp_path)
    config = {"model_type": "mine", "auto_map": {"AutoModel": "modeling_mine.Mine"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "modeling_mine.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'marker')!r})\n")
    assert "code of its own" in refusal(tmp_path, **OWN).message
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "bert"}, "neither an image model"),
        ({"model_type": "nonsense"}, "does not know"),
        ({"model_type": "siglip2"}, "NaFlex"),
        ({"model_type": "timm_wrapper"}, "encoder=timm"),
        ({"model_type": "dinov2", "quantization_config": {}}, "quantised"),
        ({"architecture": "resnet50"}, "not a model of transformers"),
    ],
)
def test_models_of_other_kinds(folders: dict[str, Path], tmp_path: Path, config: dict[str, Any], words: str) -> None:
    os.link(folders["dinov2"] / "model.safetensors", tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert words in refusal(tmp_path, **OWN).message


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"image_processor_type": "NougatImageProcessor"}, "NougatImageProcessor is not known"),
        ({"image_processor_type": "CLIPImageProcessor", "do_center_crop": False}, "different sizes"),
        ({"image_processor_type": "ViTImageProcessor", "do_resize": False}, "do_resize=false"),
        ({"image_processor_type": "ViTImageProcessor", "resample": 4}, "filter 4"),
        ({"image_processor_type": "ViTImageProcessor", "do_pad": True}, "pads"),
        ({"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 9, "longest_edge": 20}}, "size is"),
    ],
)
def test_preprocessing_that_cannot_be_done_here(
    folders: dict[str, Path], tmp_path: Path, said: dict[str, Any], words: str
) -> None:
    folder = with_processor(folders["dinov2"], tmp_path / "model", PROCESSORS[0])
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    wrong = refusal(folder)
    assert words in wrong.message and wrong.key == "encoder.size"
    assert handle(folder, **OWN).load().dimension == 32


def test_a_folder_without_preprocessing_needs_it_from_the_user(folders: dict[str, Path]) -> None:
    wrong = refusal(folders["dinov2"], size=64)
    assert "no preprocessor_config.json" in wrong.message and "encoder.mean, encoder.std" in wrong.message


@pytest.mark.parametrize(("name", "feature"), [("dinov2", "projection"), ("convnext", "cls"), ("mae", "pooler")])
def test_features_that_a_model_lacks(folders: dict[str, Path], name: str, feature: str) -> None:
    wrong = refusal(folders[name], feature=feature, **OWN)
    assert wrong.key == "encoder.feature" and "choose" in wrong.message


def test_places_are_looked_at_in_order(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    checkpoints = tmp_path / "model_checkpoints"
    snapshot = into_hub_cache(tmp_path / "cache", "org/name", folders["dinov2"])
    made = handle("org/name", look_at(checkpoints), **OWN).description
    assert made.revision == COMMIT and made.weights == (str(snapshot / "model.safetensors"),)
    with_revision = handle("org/name", look_at(checkpoints), revision=COMMIT, **OWN).description
    assert with_revision.image_fingerprint == made.image_fingerprint
    assert "was not found" in refusal("org/name", look_at(checkpoints), revision="v2", **OWN).message
    put = checkpoints / "org--name"
    put.mkdir(parents=True)
    for file in folders["dinov2"].iterdir():
        os.link(file, put / file.name)
    moved = handle("org/name", look_at(checkpoints), **OWN).description
    assert moved.weights == (str(put / "model.safetensors"),) and moved.revision is None
    assert moved.image_fingerprint == made.image_fingerprint
    assert handle("org/name", look_at(checkpoints), revision=COMMIT, **OWN).description.revision == COMMIT
    (put / "model.safetensors").unlink()
    assert "has no model.safetensors or" in refusal("org/name", look_at(checkpoints), **OWN).message


def test_offline_one_message_says_what_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    start = time.monotonic()
    wrong = refusal("facebook/dinov2-base", look_at(tmp_path / "model_checkpoints"))
    assert time.monotonic() - start < 5
    assert wrong.key == "encoder.model"
    for words in (
        "model_checkpoints/facebook--dinov2-base",
        str(tmp_path / "cache"),
        "hf download facebook/dinov2-base --include '*.json' --include '*.txt' --include '*.model' --include "
        "'model.safetensors' --local-dir facebook--dinov2-base",
        f"put that folder at {tmp_path / 'model_checkpoints' / 'facebook--dinov2-base'}",
        "preprocessor_config.json",
        "HF_HUB_OFFLINE",
    ):
        assert words in wrong.message


@pytest.mark.parametrize("name", ["./models/none", "/no/where", "a/b/c", "~/none"])
def test_a_folder_that_is_not_there_is_called_so(name: str) -> None:
    assert refusal(name).message == f"no such folder: {name}"


def test_what_is_neither_a_folder_nor_an_id() -> None:
    assert "neither a folder nor an id" in refusal("a b!").message


def test_a_folder_has_no_revisions(folders: dict[str, Path]) -> None:
    assert refusal(folders["clip"], revision="main").key == "encoder.revision"


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "empty"), (b"<!DOCTYPE html>", "web page"), (b"version https://git-lfs.github.com/spec/v1\n", "LFS")],
)
def test_files_that_are_no_weights(folders: dict[str, Path], tmp_path: Path, content: bytes, words: str) -> None:
    of_library(folders["dinov2"]).config.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(content)
    assert words in refusal(tmp_path, **OWN).message


def test_a_handle_goes_to_a_worker(folders: dict[str, Path]) -> None:
    import pickle

    made: EncoderHandle = pickle.loads(pickle.dumps(handle(folders["swin"], **OWN)))  # noqa: S301 - our own
    encoder: Encoder = made.load()
    assert encoder.encode_images(pixels()).shape == (5, encoder.dimension)
