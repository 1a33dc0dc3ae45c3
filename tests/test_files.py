"""Text files: which ones, how they are cut, what is wrong with them."""

import numpy as np
import pytest

from ar_jax import corpus, errors, registry, text

PARTS = ["naïve – “café” ", "two words\n", "🙂 end"]


def _make(path, **changes):
  section = dict(name="text_file", path=str(path), length=8, stride=4)
  return registry.build("datasets", section | changes)


@pytest.fixture
def folder(tmp_path):
  for name, part in zip("abc", PARTS, strict=True):
    (tmp_path / f"{name}.txt").write_text(part * 20)
  return tmp_path


def test_globs_and_lists_are_read_in_order(folder):
  whole = "".join(part * 20 for part in PARTS).encode()
  assert corpus.read(f"{folder}/*.txt") == whole
  listed = f"{folder}/c.txt, {folder}/[ab].txt"
  assert (
    corpus.read(listed)
    == (PARTS[2] * 20 + PARTS[0] * 20).encode() + (PARTS[1] * 20).encode()
  )
  # A file whose name looks like a list or a pattern is that file.
  (folder / "x,[y].txt").write_text("one")
  assert corpus.read(f"{folder}/x,[y].txt") == b"one"


def test_splits_by_file(folder):
  made = _make(
    folder / "a.txt",
    valid_path=f"{folder}/b.txt",
    test_path=f"{folder}/c.txt",
  )
  raw = {name: split.raw for name, split in made.splits.items()}
  names = ("train", "valid", "test")
  for name, part in zip(names, PARTS, strict=True):
    assert raw[name] == (part * 20).encode()
    stream = made.splits[name].stream
    assert text.decode(made.media, stream) == part * 20


def test_a_file_given_twice_is_named(folder):
  a, b = (f"{folder}/{name}.txt" for name in "ab")
  for path in (f"{a},{a}", f"{folder}/*.txt,{a}", f"{a},{folder}/./a.txt"):
    with pytest.raises(errors.DataError, match="path: .*a.txt .* twice"):
      _make(path)
  message = r"valid_path: .*b.txt is also in config.data.path"
  with pytest.raises(errors.DataError, match=message):
    _make(f"{folder}/*.txt", valid_path=b)
  message = r"test_path: .*b.txt is also in config.data.valid_path"
  with pytest.raises(errors.DataError, match=message):
    _make(a, valid_path=b, test_path=b)


def test_the_source_names_the_files(folder):
  assert _make(folder / "a.txt").media["source"] == "a.txt"
  assert _make(f"{folder}/*.txt").media["source"] == "a.txt and 2 more"


def test_splits_by_bytes_are_exact_at_level_byte():
  raw = "é".encode() * 100
  parts = corpus.cut(raw, "91/55/54", "byte")
  assert [len(p) for p in parts.values()] == [91, 55, 54]
  assert list(parts) == ["train", "valid", "test"]
  # Characters are not torn: the cut moves to the next one.
  parts = corpus.cut(raw, "91/55/54", "char")
  assert [len(p) for p in parts.values()] == [92, 54, 54]
  assert b"".join(parts.values()) == raw
  parts = corpus.cut(b"x" * 3000, "1K/1K", "char")
  assert [len(p) for p in parts.values()] == [1000, 1000]
  with pytest.raises(errors.DataError, match="needs 100,000,000 bytes.* 200"):
    corpus.cut(raw, "90M/5M/5M", "byte")


def test_fractions_count_characters():
  raw = ("é" * 50 + "x" * 50).encode()
  for level in ("char", "byte", "bpe"):
    parts = corpus.cut(raw, "0.5/0.5", level)
    assert parts["train"].decode() == "é" * 50


def test_file_errors_say_what_and_where(tmp_path):
  (tmp_path / "input.txt").write_bytes(b"fine so far\xff\xfe")
  with pytest.raises(errors.DataError, match="0xff at offset 11"):
    _make(tmp_path / "input.txt")
  with pytest.raises(errors.DataError, match="nearest: input.txt"):
    _make(tmp_path / "imput.txt")
  with pytest.raises(errors.DataError, match="no file"):
    _make(tmp_path / "no" / "such.txt")
  with pytest.raises(errors.DataError, match="no file .*/none-"):
    _make(f"{tmp_path}/none-*.txt")
  with pytest.raises(errors.DataError, match="is a folder"):
    _make(tmp_path)
  with pytest.raises(errors.UsageError, match="--config.data.path=FILE"):
    _make("")
  with pytest.raises(errors.UsageError, match="--config.data.path=FILE"):
    _make(" , ")
  (tmp_path / "empty.txt").write_bytes(b"")
  with pytest.raises(errors.DataError, match="empty.txt is empty"):
    _make(tmp_path / "empty.txt")
  (tmp_path / "short.txt").write_text("short")
  message = "train split of short.txt: .* 4 tokens is shorter than a window of"
  with pytest.raises(errors.DataError, match=message):
    _make(tmp_path / "short.txt")
  with pytest.raises(errors.DataError, match="config.data.valid_path: no file"):
    _make(tmp_path / "short.txt", valid_path=str(tmp_path / "none"))


def _tokenizer(folder, words=PARTS, vocab_size=300, normalizer=None):
  tokenizers = pytest.importorskip("tokenizers")
  made = tokenizers.Tokenizer(tokenizers.models.BPE())
  level = tokenizers.pre_tokenizers.ByteLevel
  made.pre_tokenizer = level(add_prefix_space=False)
  made.decoder = tokenizers.decoders.ByteLevel()
  made.normalizer = normalizer
  trainer = tokenizers.trainers.BpeTrainer(
    vocab_size=vocab_size,
    initial_alphabet=level.alphabet(),
    special_tokens=["<|endoftext|>"],
    show_progress=False,
  )
  made.train_from_iterator(words, trainer)
  path = folder / "tokenizer.json"
  made.save(str(path))
  return made, str(path)


def test_bpe_is_what_the_library_says_and_comes_back(folder):
  reference, path = _tokenizer(folder)
  made = _make(f"{folder}/*.txt", level="bpe", tokenizer=path)
  assert made.spec.num_values == reference.get_vocab_size()
  for split in made.splits.values():
    written = split.raw.decode()
    assert split.stream.tolist() == reference.encode(written).ids
    assert text.decode(made.media, split.stream) == written
    assert b"".join(text.pieces(made.media, split.stream)) == split.raw
    assert len(split.stream) < len(split.raw)
  raw = made.splits["valid"].raw
  assert made.splits["valid"].units["byte"] == len(raw)


def test_the_same_bytes_are_validated_at_every_level(folder):
  _, path = _tokenizer(folder)
  made = [
    _make(f"{folder}/*.txt", level=level, tokenizer=path)
    for level in text.LEVELS
  ]
  assert len({m.splits["valid"].raw for m in made}) == 1
  units = [m.splits["valid"].units for m in made]
  assert units[0] == units[1] == units[2]


def test_long_texts_are_cut_where_no_word_is(folder):
  reference, path = _tokenizer(folder)
  media = text.make_media("bpe", "t", tokenizer=path)
  written = "".join(p * 30 for p in PARTS) + "x" * 500 + "1 2  3\n\n 4 " * 60
  whole = text.encode(media, written)
  assert whole.tolist() == reference.encode(written).ids
  parts = list(text.chunks(written, 40))
  assert len(parts) > 20
  assert "".join(parts) == written
  # Only a stretch with no white space at all is cut inside a word.
  safe = written.replace("x" * 500, " ")
  pieces = [reference.encode(p).ids for p in text.chunks(safe, 40)]
  assert sum(pieces, []) == reference.encode(safe).ids


def test_a_tokenizer_that_changes_the_text_is_refused(folder):
  tokenizers = pytest.importorskip("tokenizers")
  lower = tokenizers.normalizers.Lowercase()
  _, path = _tokenizer(folder, normalizer=lower)
  media = text.make_media("bpe", "t", tokenizer=path)
  assert len(text.encode(media, "two words")) > 0
  with pytest.raises(
    errors.DataError, match="'two Words' comes back as 'two w"
  ):
    text.encode(media, "two Words")


def test_a_character_without_a_token_is_named(folder):
  tokenizers = pytest.importorskip("tokenizers")
  level = tokenizers.pre_tokenizers.ByteLevel
  made = tokenizers.Tokenizer(
    tokenizers.models.BPE({"a": 0, "b": 1, "?": 2}, [], unk_token="?")
  )
  made.pre_tokenizer = level(add_prefix_space=False)
  made.decoder = tokenizers.decoders.ByteLevel()
  path = folder / "tokenizer.json"
  made.save(str(path))
  media = text.make_media("bpe", "t", tokenizer=str(path))
  message = "character 'x' at position 5 comes back as '\\?'"
  with pytest.raises(errors.DataError, match=message):
    text.encode(media, "ababaxab")
  # Also behind the first part that the tokenizer is given at once.
  far = "ab" * text._CHUNK
  with pytest.raises(errors.DataError, match=f"position {len(far)} comes"):
    text.encode(media, far + "x")


def test_tokenizer_files_are_checked(tmp_path):
  with pytest.raises(errors.UsageError, match="ar_jax data tokenizer"):
    text.make_media("bpe", "t")
  with pytest.raises(errors.DataError, match="no tokenizer file"):
    text.make_media("bpe", "t", tokenizer=str(tmp_path / "none.json"))
  file = tmp_path / "tokenizer.json"
  for content in ("{", "{}", "[1]"):
    file.write_text(content)
    with pytest.raises(errors.DataError, match="is no tokenizer.json"):
      text.make_media("bpe", "t", tokenizer=str(file))


def test_byte_fallback_tokenizers_are_read(tmp_path):
  tokenizers = pytest.importorskip("tokenizers")
  vocabulary = {f"<0x{b:02X}>": b for b in range(256)}
  vocabulary |= {"▁": 256, "a": 257, "b": 258, "▁a": 259}
  made = tokenizers.Tokenizer(
    tokenizers.models.BPE(vocabulary, [("▁", "a")], byte_fallback=True)
  )
  made.normalizer = tokenizers.normalizers.Replace(" ", "▁")
  made.decoder = tokenizers.decoders.Sequence(
    [tokenizers.decoders.Replace("▁", " "), tokenizers.decoders.ByteFallback()]
  )
  path = tmp_path / "tokenizer.json"
  made.save(str(path))
  media = text.make_media("bpe", "t", tokenizer=str(path))
  written = "b ab aé"
  token_T = text.encode(media, written)
  assert 259 in token_T
  assert np.count_nonzero(token_T < 256) == 2  # the two bytes of é
  assert text.decode(media, token_T) == written
