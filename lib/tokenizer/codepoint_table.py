#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write codepoint_table.c: what normalizers and pre-tokenizers know about each code point.

Everything is read out of Hugging Face tokenizers by asking it about every code point, so that the
tables hold what that library believes (its parts follow different versions of Unicode), whatever
the machine's libraries have. Only combining classes come from Python's unicodedata, and only where
the library's own NFD is seen to use them.
Usage: python3 codepoint_table.py > codepoint_table.c    (needs the Python package tokenizers)
"""
import unicodedata

from tokenizers import Regex, normalizers, pre_tokenizers

BLOCK = 64
POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
CATEGORIES = ["Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd",
              "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf",
              "Cs", "Co"]
# As in codepoint.h.
(SPACE, CLEANED, PUNCTUATION, NONSPACING, MARK, NUMERIC, WORD, LOWERS, CANONICAL, COMPATIBLE, SECOND,
 UNSTABLE) = [1 << i for i in range(12)]


def removed(normalizer):
    """Code points that a normalizer removes."""
    return {c for c in POINTS if normalizer.normalize_str("a" + chr(c)) == "a"}


def cutting(pre_tokenizer):
    """Code points that cut the word they stand in."""
    return {c for c in POINTS if len(pre_tokenizer.pre_tokenize_str("a" + chr(c) + "a")) != 1}


def joining(pre_tokenizer):
    """Code points that form one word with a letter before them."""
    return {c for c in POINTS
            if pre_tokenizer.pre_tokenize_str("a" + chr(c))[0][0] == "a" + chr(c)}


def categories():
    """General category of each code point, as the regex engine has it."""
    table = {}
    for number, name in enumerate(CATEGORIES):
        split = pre_tokenizers.Split(Regex(r"\p{%s}" % name), "removed")
        for i in range(0, len(POINTS), 4096):
            part = POINTS[i:i + 4096]
            kept = set("".join(s for s, _ in split.pre_tokenize_str("".join(map(chr, part)))))
            table.update((c, number) for c in part if chr(c) not in kept)
    return table


def scripts():
    """A number for the script of each code point; 0 for those that belong to any script."""
    split = pre_tokenizers.UnicodeScripts()
    same = lambda a, b: len(split.pre_tokenize_str(chr(a) + chr(b))) == 1
    table, first, previous = {}, [], None
    for c in POINTS:
        if [s for s, _ in split.pre_tokenize_str(chr(c) + "a")] == ["a"]:
            table[c] = 0
            continue
        if previous is not None and same(previous, c):
            table[c] = table[previous]
        else:
            found = [i for i, p in enumerate(first) if same(p, c)]
            if not found:
                found = [len(first)]
                first.append(c)
            table[c] = found[0] + 1
        previous = c
    return table


def combining_classes():
    """Canonical combining classes that the library's NFD sorts by."""
    nfd, table = normalizers.NFD(), {}
    for c in POINTS:
        ccc = unicodedata.combining(chr(c))
        if not ccc or nfd.normalize_str(chr(c)) != chr(c):
            continue
        low, high = "\u0334", "\u0345"  # classes 1 and 240
        if nfd.normalize_str("a" + high + chr(c)) != "a" + high + chr(c) or \
                nfd.normalize_str("a" + chr(c) + low) != "a" + chr(c) + low:
            table[c] = ccc
    return table


def hangul(c):
    return 0xAC00 <= c < 0xAC00 + 11172


def compositions(canonical):
    """(first, second) -> composed."""
    nfc, pairs = normalizers.NFC(), {}
    for c, d in canonical.items():
        if len(d) < 2 or nfc.normalize_str(chr(c)) != chr(c):
            continue
        first = nfc.normalize_str(d[:-1])
        assert len(first) == 1 and nfc.normalize_str(first + d[-1]) == chr(c), hex(c)
        pairs[ord(first), ord(d[-1])] = c
    return pairs


def print_array(kind, name, values, size=True):
    print("const %s %s[%d] = {" % (kind, name, len(values)))
    line = ""
    for v in values:
        if len(line) + len(str(v)) + 1 > 96:
            print("    " + line)
            line = ""
        line += "%s," % v
    print("    " + line + "\n};")


def main():
    flags = [0] * 0x110000
    bert = normalizers.BertNormalizer
    off = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    for bit, members in ((SPACE, cutting(pre_tokenizers.WhitespaceSplit())),
                         (CLEANED, removed(bert(**{**off, "clean_text": True}))),
                         (PUNCTUATION, cutting(pre_tokenizers.Punctuation())),
                         (NONSPACING, removed(bert(**{**off, "strip_accents": True}))),
                         (MARK, removed(normalizers.StripAccents())),
                         (NUMERIC, cutting(pre_tokenizers.Digits(individual_digits=True))),
                         (WORD, joining(pre_tokenizers.Whitespace()))):
        for c in members:
            flags[c] |= bit
    lower = {}
    canonical, compatible = {}, {}
    maps = ((normalizers.Lowercase(), lower, LOWERS), (normalizers.NFD(), canonical, CANONICAL),
            (normalizers.NFKD(), compatible, COMPATIBLE))
    for normalizer, table, bit in maps:
        for c in POINTS:
            s = normalizer.normalize_str(chr(c))
            if s != chr(c) and not (bit != LOWERS and hangul(c)):
                table[c] = s
                flags[c] |= bit
    ccc = combining_classes()
    pairs = compositions(canonical)
    nfc = normalizers.NFC()
    for c in {b for _, b in pairs} | set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3)):
        flags[c] |= SECOND | UNSTABLE
    for c in POINTS:
        if ccc.get(c) or nfc.normalize_str(chr(c)) != chr(c):
            flags[c] |= UNSTABLE
    category, script = categories(), scripts()
    records, numbers, table = [], {}, []
    for c in range(0x110000):
        record = (flags[c], ccc.get(c, 0), script.get(c, 0), category.get(c, 28))
        if record not in numbers:
            numbers[record] = len(records)
            records.append(record)
        table.append(numbers[record])
    blocks, places, index = [], {}, []
    for i in range(0, 0x110000, BLOCK):
        block = tuple(table[i:i + BLOCK])
        if block not in places:
            places[block] = len(blocks)
            blocks.append(block)
        index.append(places[block])
    print("/* SPDX-License-Identifier: MIT\n *\n * Generated by codepoint_table.py; do not edit.\n"
          " */\n#include \"tokenizer/codepoint.h\"\n\n/* clang-format off */")
    print_array("uint16_t", "codepoint_index", index)
    print_array("uint16_t", "codepoint_records", [v for b in blocks for v in b])
    print("const struct codepoint codepoint_list[%d] = {" % len(records))
    for record in records:
        print("    {%d, %d, %d, %d}," % record)
    print("};")
    text, maps = [], []
    for c in sorted(set(canonical) | set(compatible)):
        for table, compat in ((canonical, 0), (compatible, 1)):
            if c in table and not (compat and table[c] == canonical.get(c)):
                maps.append("{%d, %d, %d, %d}" % (c, len(text), len(table[c]), compat))
                text += [ord(x) for x in table[c]]
    print_array("uint32_t", "codepoint_decomposed", text)
    print_array("struct codepoint_mapping", "codepoint_decompositions", maps)
    assert all(len(s) == 1 for c, s in lower.items() if c != 0x130) and lower[0x130] == "i\u0307"
    print_array("struct codepoint_lower", "codepoint_lowers",
                ["{%d, %d}" % (c, ord(s[0])) for c, s in sorted(lower.items())])
    print_array("struct codepoint_pair", "codepoint_pairs",
                ["{%d, %d, %d}" % (a, b, c) for (a, b), c in sorted(pairs.items())])
    print("/* clang-format on */")


main()
