"""Tiny stand-ins for the full tier's weights: made here, saved in the real formats, read by the real loading code."""

from pathlib import Path

import spacy
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from spacy.training import Example
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

WORDS = [
    "the",
    "a",
    "of",
    "chest",
    "pain",
    "headache",
    "sore",
    "throat",
    "fever",
    "cough",
    "when",
    "to",
    "call",
    "an",
    "ambulance",
    "see",
    "doctor",
    "what",
    "is",
    "signs",
    "you",
    "can",
    "do",
    ".",
    ",",
    "child",
    "pregnancy",
    "burn",
]


def _bert(folder: Path, *, labels: int | None) -> Path:
    torch.manual_seed(0)
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=128,
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    config.num_labels = labels or 2
    model = BertForSequenceClassification(config) if labels else BertModel(config)
    model.save_pretrained(folder)
    return folder


def make_embedder(folder: Path) -> None:
    """A SentenceTransformer of random weights."""
    raw = _bert(folder.with_name(folder.name + "-raw"), labels=None)
    transformer = Transformer(str(raw), max_seq_length=128)
    SentenceTransformer(modules=[transformer, Pooling(32, "mean")], device="cpu").save(str(folder))


def make_reranker(folder: Path) -> None:
    """A CrossEncoder of random weights."""
    raw = _bert(folder.with_name(folder.name + "-raw"), labels=1)
    CrossEncoder(str(raw), device="cpu").save_pretrained(str(folder))


def make_entity_model(folder: Path) -> None:
    """A spaCy model whose recogniser has learned the word `zorbitis`."""
    nlp = spacy.blank("en")
    nlp.add_pipe("ner").add_label("ENTITY")  # type: ignore[attr-defined]  # spaCy types a pipe as a callable
    texts = ["I have zorbitis", "zorbitis again today", "is zorbitis bad"]
    examples = [
        Example.from_dict(nlp.make_doc(t), {"entities": [(t.index("zorbitis"), t.index("zorbitis") + 8, "ENTITY")]})
        for t in texts
    ]
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(30):
        nlp.update(examples, sgd=optimizer)
    nlp.to_disk(folder)
