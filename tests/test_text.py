"""Words and their ids, which prepare and whoever asks a model must agree on."""

import numpy as np

from recsys.text import ngrams, query_tokens, token_id, words


def test_words_of_any_script_and_spelling() -> None:
    assert words("  Röde ＬＯＰＡＲＳＫＯＲ—42!  (ﬁne)") == ["röde", "loparskor", "42", "fine"]
    assert words("Ro\u0308de") == words("RÖDE") == ["röde"]
    assert words("STRASSE Straße") == ["strasse", "strasse"]
    assert words("日本語 テスト。नमस्ते") == ["日本語", "テスト", "नमस्ते"]
    assert words(" -- ") == []


def test_ids_are_the_same_everywhere() -> None:
    assert query_tokens("Red  SHOES!", 4, 16384) == [10510, 10374, 0, 0]
    assert query_tokens("a b c", 2, 10) == query_tokens("A, B", 2, 10)
    found = {token_id(f"word-{number}", 7) for number in range(200)}
    assert found == set(range(1, 8))


def test_texts_that_share_words_are_near() -> None:
    shoe, same, boot, lamp = (
        np.array(ngrams(text, 64))
        for text in ("Red running shoe", "red  RUNNING shoe!", "Blue running shoes", "Desk lamp")
    )
    np.testing.assert_allclose(shoe, same)
    assert abs(np.linalg.norm(shoe) - 1) < 1e-12
    assert shoe @ boot > 0.3 > shoe @ lamp
    assert ngrams(" - ", 8) == [0.0] * 8
