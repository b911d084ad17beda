#!/usr/bin/env python3
"""Template cases with the text that jinja2 makes of them, set up as transformers sets it up.

Needs transformers and jinja2. Writes templates.json: cases are [template, expected], expected null
where jinja2 fails. All see the variables of CONTEXT. Families are templates in the style of the
usual ones, each with conversations.
Usage: make_templates.py > templates.json
"""
import json
import sys

from transformers.utils.chat_template_utils import _compile_jinja_template

CONTEXT = {
    "i": 7, "neg": -3, "zero": 0, "f": 2.5, "big": 9007199254740993, "t": True, "fa": False,
    "none": None, "s": "Hello World", "empty": "", "u": "Straße éÀ 你好 😀", "q": "it's \"quoted\"",
    "ws": "  two  words \n", "csv": "a,b,,c", "html": "<a href='x'>&amp;</a>",
    "list": [3, 1, 2], "words": ["pear", "Apple", "fig", "apple"], "nested": [[1, 2], [3, [4, 5]]],
    "elist": [], "edict": {}, "d": {"b": 1, "a": 2, "C": None, "items": "own", "x y": "z"},
    "people": [{"name": "Ann", "age": 31, "city": {"n": "Rome"}}, {"name": "bob", "age": 25},
               {"name": "Cid", "age": 31, "city": {"n": "Oslo"}, "tags": ["x", "y"]}],
    "tree": [{"v": 1, "c": [{"v": 2, "c": []}, {"v": 3, "c": [{"v": 4, "c": []}]}]}],
    "mixed": [1, "a", None, True, 2.0, [1], {"k": "v"}],
    "floats": [0.1, 1e16, 1e-5, 123456789.125, 1e300, -0.0, 100.0, 1e15, 0.0001],
    "ctl": "tab\t nl\n cr\r bell\u0007 del\u007f nbsp\u00a0 zwj\u200d",
}

EXPRESSIONS = """
1 + 2 * 3 | 7 // 2 | -7 // 2 | 7 % -3 | -7 % 3 | 7 / 2 | 6 / 2 | 2 ** 10 | 2 ** -1 | -2 ** 2
2 ** 3 ** 2 | 7.5 // 2 | -7.5 % 2 | 1e3 | 1.5e-7 | 1_000 | 0x1F | 0b101 | 0o17 | 10 % 3.5 | i / f
1 == 1.0 | true == 1 | "1" == 1 | [1, 2] == [1, 2] | (1, 2) == [1, 2] | d == d | none == fa
1 < 2 < 3 | 1 < 2 > 3 | 3 > 2 > 1 == 1 | 1 < 3 < 2 < 1 | "a" < "b" | "B" < "a" | [1, 2] < [1, 3]
1 in [1, 2] | "ell" in "Hello" | "b" in d | 3 not in list | "x" in elist | not 1 in [1] | i in (7,)
t and s | fa or s | fa and s | "" or "x" | not s | not not s | t and fa or t | none or 0 | 0 or none
1 if t else 2 | 1 if fa else 2 | (1 if fa) | 1 if fa else 2 if fa else 3 | "a" if i > 5 and t else "b"
(1 if t else 2) + 1 | [1 if t else 2, 3 if fa else 4] | "x" ~ (1 if t) ~ 2 | (fa if t else t) is defined
"a" ~ 1 ~ none ~ t ~ 2.0 | "a" + "b" | [1] + [2] | (1,) + (2,) | "ab" * 3 | 3 * "ab" | [0] * 3 | "a" * -1
1 + "a" | "a" + 1 | none + 1 | missing + 1 | 1 / 0 | 1 // 0 | 1 % 0 | 5 - "a" | [1] + (2,) | d + d
-s | +i | -t | +none | t + t | t * 3 | -f | --i | +-3 | - 3 + 1 | 9223372036854775807
9223372036854775807 + 0 | big * 2 | 3 * -3 | 0 - 0 | 1 - -1 | 2 - 1 - 1 | 2 * 3 % 4 | 7 // 2 * 2
s[0] | s[-1] | s[99] | s[1:4] | s[::-1] | s[::2] | s[-3:] | s[:-3] | s[4:1] | s[10:0:-3] | u[0:6] | u[-1]
list[0] | list[-1] | list[9] | list[1:] | list[::-1] | list[:2] | list[5:] | list[0:3:2] | nested[1][1][0]
list["0"] | s["x"] | d["b"] | d["zz"] | d.b | d.zz | d.zz.yy | d["x y"] | d.items | d["items"] | d["keys"]
missing | missing.x | missing["x"] | missing[0] | none.x | none["x"] | i.x | s.x | s.x.y | people[0].city.n
people[1].city | people[1].city.n | people[0]["city"]["n"] | list.0 | nested.1.0 | (1, 2)[1] | {"a": 1}.a
[] | () | {} | (1,) | (1, 2) | [1, "a", none, true, 1.5] | {"a": [1, {"b": ()}]} | {1: 2, none: 3} | d
"it's" | [q] | ["it's"] | ["a\\nb\\t\\\\"] | [u] | [ctl] | ctl | "\\x41\\u00e9\\U0001F600" | "a" "b" 'c'
"\\a\\q\\101" | "tab\\there" | 'single \\' quote' | "double \\" quote" | "new\\
line" | floats | floats[0] | floats[5]
1.0 | 100.0 | 1e16 | 1e15 | 1e-4 | 1e-5 | 0.1 + 0.2 | 1e22 | 123456789012345680.0 | 2.5e-10 | 5e-324 | 1.7976931348623157e308
s.upper() | s.lower() | s.title() | "hello world".capitalize() | s.swapcase() | u.upper() | u.lower() | u.title()
ws.strip() | ws.lstrip() | ws.rstrip() | "xxaxx".strip("x") | "abcba".lstrip("ab") | "abcba".rstrip("ab") | "é é".strip("é")
csv.split(",") | csv.split(",", 1) | csv.rsplit(",", 1) | ws.split() | " a b  c ".split(None, 1) | " a b  c ".rsplit(None, 1)
"".split() | "".split(",") | "a".split("") | s.split("o")[-1] | s.split("o")[0] | "a<br>b".split("<br>") | ws.splitlines()
"a\\nb\\r\\nc\\n".splitlines() | "a\\nb".splitlines(true) | s.startswith("He") | s.startswith(("x", "He")) | s.endswith("ld")
s.replace("o", "0") | s.replace("o", "0", 1) | "aaa".replace("a", "b", 2) | "abc".replace("", "-") | s.find("o") | s.find("z")
s.rfind("o") | s.index("z") | s.count("l") | u.find("你") | s.find("o", 5) | s.find("o", 0, 3) | "a-b-c".partition("-")
"a-b-c".rpartition("-") | "abc".partition("x") | ", ".join(["a", "b"]) | "".join([]) | "-".join([1]) | "-".join("abc")
"abc".isalpha() | "12".isdigit() | "a1".isalnum() | " ".isspace() | "AB".isupper() | "ab1".islower() | "".isdigit() | "x".center(5) | "x".ljust(3) + "|" | "x".rjust(3)
"ab".center(5, "*") | "abc".center(6, ".") | "abcd".center(7, ".") | "pre-x".removeprefix("pre-") | "x.py".removesuffix(".py")
"{} and {}".format(1, "b") | "{0}{1}{0}".format("a", "b") | "{x:>5}|".format(x="r") | "{:05d}".format(42) | "{:.2f}".format(3.14159)
"{:,}".format(1234567) | "{!r}".format("a") | "{{}}".format() | "{:^7}|".format("mid") | "{:*<6}".format("ab") | "{:x}".format(255) | "{:+d}".format(5) | "{:%}".format(0.25) | "{:e}".format(12345.678)
"%s is %d" % ("a", 3) | "%5.1f|" % 3.14159 | "%05d" % 42 | "%-5s|" % "ab" | "%x" % 255 | "%%" % () | "%s" % [1] | "%r" % "a" | "%d" % "a" | "%s %s" % "a" | "100%" % ()
"%s-%s"|format(1, 2) | "%.3f"|format(2) | "%s"|format(none)
d.keys() | d.values()|list | d.items() | d.items()|list | d.get("b") | d.get("zz") | d.get("zz", 5) | d.keys()|list | edict.items()|list
[1, 2].index(2) | [1, 1].count(1) | s.nope() | d.nope | (1, 2).count(1) | s.__class__ | s.__len__ | d.__class__ | ''.__class__.__mro__
s|upper | s|lower | s|title | "hello WORLD"|capitalize | ws|trim | "xxaxx"|trim("x") | s|length | u|length | d|length | list|count | i|length | none|length | missing|length
"foo-bar (baz) o'neil"|title | "ÉA ß"|title | none|upper | missing|upper | 5|string | 5|string ~ 1 | f|string|length
s|first | s|last | list|first | elist|first | elist|last | d|first | missing|first | s|list | d|list | missing|list | i|list | 3|last
list|sort | words|sort | words|sort(case_sensitive=true) | words|sort(reverse=true) | people|sort(attribute="age")|map(attribute="name")|list | mixed|sort
people|sort(attribute="name")|map(attribute="name")|join | list|reverse|list | s|reverse | list|reverse | words|unique|list | words|unique(true)|list | [1, 1.0, 2]|unique|list
list|min | list|max | words|min | words|max | elist|max | people|max(attribute="age") | list|sum | people|sum(attribute="age") | elist|sum | [1.5, 2]|sum | list|sum(start=10) | words|sum
words|join | words|join(", ") | people|join("+", attribute="name") | [1, none, true]|join("-") | s|join("_") | missing|join | none|join | d|join(",")
list|map("string")|list | words|map("upper")|join(" ") | people|map(attribute="city.n")|list | people|map(attribute="city.n", default="?")|list | words|map("replace", "p", "b")|list | none|map("upper")|list
people|selectattr("city")|map(attribute="name")|list | people|selectattr("age", "equalto", 25)|list|length | people|rejectattr("city")|map(attribute="name")|list | people|selectattr("age", ">", 30)|map(attribute="name")|list
people|selectattr("tags", "defined")|list|length | list|select("odd")|list | list|reject("odd")|list | list|select(">", 1)|list | mixed|select|list | mixed|reject|list | mixed|select("string")|list | list|select|first | list|select
list|select|length | list|map("string")|first | people|selectattr("name", "in", ["Ann", "Cid"])|list|length | words|select("in", ["fig"])|list | none|select|list | missing|selectattr("x")|list
list|batch(2)|list | list|batch(2, 0)|list | range(7)|slice(3)|list | d|dictsort | d|dictsort(by="value") | {"b": 2, "A": 1}|dictsort | {"b": 2, "A": 1}|dictsort(true) | {"b": 2, "A": 3}|dictsort(false, "value") | d|items|list | {"a": 1}|items|first
people|groupby("age")|length | people|groupby("age")|map(attribute=0)|list | people|groupby("age")|map("last")|map("length")|list | none|items|list | edict|dictsort
missing|default("x") | none|default("x") | none|default("x", true) | ""|default("x", true) | missing|d | 0|default(5) | s|default("x") | d.zz|default("q") | missing.a|default("x")
"42"|int | "4.7"|int | "x"|int | "x"|int(9) | "0x1f"|int(0, 16) | "ff"|int(base=16) | none|int | 3.9|int | -3.9|int | t|int | missing|int | " 12 "|int | "1_000"|int | "12abc"|int | []|int
"2.5"|float | "x"|float | "x"|float(1.5) | i|float | none|float | "1e3"|float | -3|abs | -2.5|abs | 2.5|round | 3.5|round | 2.567|round(2) | 1234|round(-2) | 2.1|round(0, "ceil") | 2.9|round(method="floor") | 7|round | 2.675|round(2) | "a"|abs
s|replace("o", "0") | s|replace("o", "0", 1) | 12321|replace(2, "x") | html|escape | html|e | html|safe | "a b/ü"|urlencode | s|wordcount | u|wordcount | "x"|center(5) ~ "|" | "abcdefghij"|truncate(5) | "one two three four"|truncate(12) | "one two three four"|truncate(9, true, "…", 0)
"a\\nb\\n\\nc"|indent | "a\\nb\\n\\nc"|indent(2, true) | "a\\nb\\n\\nc"|indent(2, blank=true) | "a\\nb"|indent("> ") | ""|indent(2, true) | s|indent(width=2, first=true)
d|tojson | list|tojson | u|tojson | html|tojson | q|tojson | ctl|tojson | floats|tojson | t|tojson | none|tojson | mixed|tojson | d|tojson(indent=2) | nested|tojson(indent=4) | edict|tojson(indent=2) | elist|tojson(indent=2)
d|tojson(sort_keys=true) | {"b": 1, "a": 2}|tojson(sort_keys=true) | u|tojson(ensure_ascii=true) | list|tojson(separators=(",", ":")) | d|tojson(separators=(",", ":"), indent=1) | missing|tojson | (1, 2)|tojson | {1: 2, none: 3, true: 4, 1.5: 5}|tojson | range(3)|tojson | list|map("string")|tojson | d.items()|list|tojson | d.keys()|tojson | {"a": 1}|tojson(indent="\\t") | namespace()|tojson
s is defined | missing is defined | missing is not defined | missing is undefined | none is none | none is not none | d.zz is defined | d.b is defined | (1 if fa) is defined | missing is none
s is string | i is string | d is mapping | list is mapping | list is iterable | s is iterable | i is iterable | d is iterable | missing is iterable | list is sequence | s is sequence | d is sequence | i is sequence | range(2) is sequence | none is iterable | d.items() is sequence | d.keys() is iterable
i is number | t is number | f is number | s is number | i is integer | t is integer | f is integer | f is float | i is float | t is boolean | i is boolean | t is true | 1 is true | fa is false | none is false | t is false
i is odd | i is even | i is divisibleby 7 | i is divisibleby(2) | 3 is in [1, 3] | 3 is in(list) | i is eq 7 | i is equalto 7 | i is ne 7 | i is lt 8 | i is ge 8 | s is lower | "abc" is lower | "ABC" is upper | s is sameas s | none is sameas none | 1 is sameas true | i is gt(3) and t
range is callable | s.upper is callable | s is callable | "upper" is filter | "nope" is filter | "odd" is test | s is nope | s|nope | i is defined and i > 3 | not i is defined | i is not odd | s is string and s|length > 3 or fa | s is escaped
range(5)|list | range(2, 5)|list | range(5, 0, -2)|list | range(0)|list | range(3) | range(1, 10, 3) | range(5)[1] | range(5)|length | range(5)|last | range(5)[1:3] | range(0, 5, 0) | range(1000000) | range(5) is iterable | 3 in range(5)
dict(a=1, b=2) | dict({"x": 1}, y=2) | dict([("a", 1)]) | namespace(a=1).a | namespace(a=1).b | namespace({"a": 2}).a | dict().items()|list | nope() | raise_exception("no") | s() | d.b() | cycler("a", "b").next() | cycler()
-1|abs | -i|abs | 2 + 3|string | "a" ~ "b"|upper | ("a" ~ "b")|upper | not t|string | 1 + 1 ~ 2 | 2 * 3 ~ 4 + 1 | 1 < 2 and "a" < "b" | (1, 2)|length | [1, 2, 3][1:]|join | s|upper|lower|title | s.upper()|lower | (s|upper)[0] | s|upper[0]
i if i is odd else "even" | "y" if s in ["Hello World"] else "n" | (s|length > 5) | [x for x in list] | lambda: 1 | 1 + | (1 | {1} | "abc | s[ | 1 2 | a b | {{ 1 }} | ~ | * | 1 is | s | | | if | [1,,2] | f(a=1, 2)
{"a": 1, "a": 2} | {"a": 1}["a"] | {"b": {"c": [1, 2]}}.b.c[1] | [1, 2,] | {"a": 1,} | (1, 2,) | [[], [[]]] | {} == {} | [] == () | none is none == true | "a" in "abc" in ["abc"] | 1 != 2 | not (1 == 1) | 1 <> 2 | !t | t && fa
s.split(" ")|map("first")|join | people[0].items()|map("first")|join(",") | (people|first).name | (people|last).tags|join("&") | people|map(attribute="age")|sum / people|length | people|length - 1 | (list|sort)[0] | list|sort|first
strftime_now("%Y") is string | strftime_now("%d %b %Y")|length | u|upper|length | "ǆ"|title | "ŉ"|upper | "İ"|lower | "ΑΣ"|lower | "ﬁ"|upper | u.isalpha() | "²".isdigit() | "½".isnumeric() | "Ⅷ".isalpha() | " "|trim | "　x"|trim
"a.b.c".split(".")[1] | "a" if "" else "b" if 0 else "c" | [0, "", none, false, [], {}]|select|list | d|list|join | d|map("upper")|list | d.values()|join | [d]|map(attribute="b")|first | [{"a": {"b": [5]}}]|map(attribute="a.b.0")|list | [[1, 2]]|map(attribute=1)|list | [[1, 2]]|map(attribute="1")|list
("a" * 40) in ("b" * 9 ~ "a" * 50) | ("xy" * 50).rfind("yx" * 20) | ("ab" * 30 ~ "c").split("ba" * 17) | ("ab" * 60).rsplit("ba" * 20, 1) | ("ab" * 60).replace("ba" * 20, "-") | ("ab" * 40).find("ab" * 16 ~ "b") | "x" is in "xyz" | 5 is in {"5": 1} | "%s" % none | "%c" % "a" | "%i%%" % 5.9 | "%+d" % 3 | "% d" % 3 | "%.2s|" % "abc" | "%10s|" % u | "%s" % (1,) | "%s" % ((1, 2),) | "%s" % d | loop | caller | true.x | 1.5.x | not missing | missing == missing | missing != 1 | missing < 1 | missing in [1] | 1 in missing | missing ~ "x" | [missing] | {"a": missing} | missing|string | missing or "x" | missing is string
"""

STATEMENTS = [
    "{% if t %}a{% endif %}b", "{% if fa %}a{% elif t %}b{% else %}c{% endif %}",
    "{% if fa %}a{% elif fa %}b{% else %}c{% endif %}", "{% if missing %}a{% else %}b{% endif %}",
    "{% if s %}\na\n{% else %}\nb\n{% endif %}\nc\n", "a\n  {% if t %}\n  b\n  {% endif %}\nc\n",
    "a  {%- if t -%}  b  {%- endif -%}  c", "a\n\n  {{- s -}}  \n b", "  {%+ if t %}x{% endif %}",
    "{% if t +%}\nx{% endif %}", "x {# comment #} y", "x\n{# comment #}\ny", "  {# c #}\n y", "a {#- c -#} b",
    "{# {{ x }} {% if %} #}z", "a{#+ c +#}\nb", "{{ '{{' }} {{ '%}' }} {{ '}}' }}", "{{ {'a': {'b': 1}}.a.b }}",
    "{% raw %}{{ x }} {% if %}{% endraw %}", "a {%- raw -%} b {%- endraw -%} c", "  {% raw %}\n x\n  {% endraw %}\ny",
    "line\r\nnext\rlast\n", "\n\n", "{{ 1 }}\n", "{{ 1 }}\n\n", "", "   ", "\t{% if t %}\tx{% endif %}\n",
    "{{ 1 }}\n{{ 2 }}\n", "{%- if t %}\n  a\n{%- endif %}\n", "text {% if t %}inline{% endif %} text\n  {% if t %} x {% endif %}  \n",
    "{% for x in list %}{{ x }},{% endfor %}", "{% for x in elist %}a{% else %}none{% endfor %}",
    "{% for x in list %}{% else %}none{% endfor %}", "{% for k in d %}{{ k }}{% endfor %}", "{% for c in u %}[{{ c }}]{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k, v in d|dictsort %}{{ k }}={{ v }};{% endfor %}",
    "{% for a, b in [[1, 2], [3, 4]] %}{{ a }}{{ b }} {% endfor %}", "{% for a, b in [[1, 2, 3]] %}{{ a }}{% endfor %}",
    "{% for (a, b) in [[1, 2]] %}{{ a }}{{ b }}{% endfor %}", "{% for x in i %}{% endfor %}", "{% for x in none %}{% endfor %}",
    "{% for x in missing %}a{% else %}b{% endfor %}", "{% for x in missing.y %}{% endfor %}",
    "{% for x in list %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ loop.revindex0 }} {% endfor %}",
    "{% for x in list %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}", "{% for x in list %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{% endfor %}",
    "{% for x in list %}{{ loop.cycle('a', 'b') }}{% endfor %}", "{% for x in [1, 1, 2] %}{{ loop.changed(x) }}{% endfor %}",
    "{% for x in list %}{% for y in [1, 2] %}{{ loop.index }}{{ loop.depth }}{% endfor %}{{ loop.index }};{% endfor %}",
    "{% for x in range(6) if x % 2 %}{{ x }}{{ loop.index }}{{ loop.last }} {% endfor %}", "{% for x in range(6) if x > 9 %}a{% else %}b{% endfor %}",
    "{% for x in range(4) if x %}{{ loop.first }}{{ x }}{% endfor %}", "{% for x in range(5) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 4 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in range(3) %}{% break %}{% else %}e{% endfor %}", "{% for x in list %}{% for y in list %}{% if y == 1 %}{% break %}{% endif %}{{ x }}{{ y }} {% endfor %}{% endfor %}",
    "{% set ns = namespace(done=false) %}{% for x in range(5) if not ns.done %}{{ x }}{% if x == 2 %}{% set ns.done = true %}{% endif %}{% endfor %}",
    "{% set ns = namespace(n=0) %}{% for x in list %}{% set ns.n = ns.n + x %}{% endfor %}{{ ns.n }}", "{% set x = 1 %}{% for y in list %}{% set x = x + y %}{{ x }} {% endfor %}{{ x }}",
    "{% for y in list %}{{ z is defined }}{% set z = y %}{{ z }}{% endfor %}{{ z is defined }}", "{% set s = 'new' %}{{ s }}", "{% if t %}{% set w = 5 %}{% endif %}{{ w }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a, b = list %}{{ a }}", "{% set a = 1, 2 %}{{ a }}", "{% set i.x = 1 %}", "{% set d.x = 1 %}{{ d.x }}",
    "{% set ns = namespace() %}{% set ns.a = 1 %}{{ ns.a }}{{ ns.b is defined }}", "{% set ns = namespace() %}{% set ns._x = 1 %}", "{% set x %}a{{ i }}b{% endset %}[{{ x }}]{{ x|length }}",
    "{% set x | upper %}a{{ s }}{% endset %}{{ x }}", "{% set x | replace('a', 'b') | upper %}aaa{% endset %}{{ x }}", "{% set x %}{% set inner = 1 %}{% endset %}{{ inner is defined }}",
    "{% set x %}{% for y in list %}{{ y }}{% endfor %}{% endset %}{{ x }}", "{% set true = 1 %}", "{% set x = %}", "{% set 1 = x %}", "{% set x y %}{% endset %}",
    "{% macro m() %}x{% endmacro %}{{ m() }}{{ m() }}", "{% macro m(a, b=2, c=a) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(1, c=5) }}{{ m(b=1, a=2) }}{{ m() }}",
    "{% macro m(a) %}{{ a is defined }}{% endmacro %}{{ m() }}{{ m(1) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(z=2) }}",
    "{% macro m(a) %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, z=4) }}", "{% macro m() %}{{ s }}{% endmacro %}{% set s = 'late' %}{{ m() }}", "{% set v = 1 %}{% macro m() %}{% set v = 2 %}{{ v }}{% endmacro %}{{ m() }}{{ v }}",
    "{% for x in list %}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% endfor %}", "{% macro m() %}{{ x is defined }}{% endmacro %}{% for x in list %}{{ m() }}{% endfor %}", "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}body{{ i }}{% endcall %}", "{% macro m() %}{{ caller(1, 2) }}{% endmacro %}{% call(a, b) m() %}{{ a }}{{ b }}{{ s }}{% endcall %}", "{% macro m(x) %}<{{ x }}{{ caller() if caller else '' }}>{% endmacro %}{{ m(1) }}{% call m(2) %}c{% endcall %}",
    "{% macro m() %}x{% endmacro %}{% call m() %}y{% endcall %}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m }}x"[:-4] + "{{ m is callable }}", "{% macro m(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ m(*[1, 2]) }}{{ m(**{'a': 3, 'b': 4}) }}{{ m(5, **{'b': 6}) }}",
    "{% macro m() %} a {%- endmacro %}[{{ m() }}]{{ m()|trim|upper }}", "{% filter upper %}abc{{ s }}{% endfilter %}", "{% filter trim|replace('a', 'b') %} aa {% endfilter %}", "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}",
    "{% set a = 5 %}{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}", "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}", "{% generation %}{{ s }}{% endgeneration %}", "{% for x in list %}{% generation %}{{ loop.index }}{{ x }}{% endgeneration %}{% endfor %}",
    "{% for n in tree recursive %}{{ n.v }}{{ loop.depth }}({{ loop(n.c) }}){% endfor %}", "{% for n in tree recursive %}{{ n.v }}{% if n.c %}[{{ loop(n.c) }}]{% endif %}{% else %}e{% endfor %}", "{% for n in list %}{{ loop([1]) }}{% endfor %}",
    "{% set g = list|map('string') %}{{ g|join }}{{ g|join }}", "{% set g = people|selectattr('city') %}{% if g %}y{% endif %}{{ g|list|length }}", "{% set c = cycler(1, 2) %}{{ c.next() }}{{ c.next() }}{{ c.next() }}", "{% set j = joiner('|') %}{% for x in list %}{{ j() }}{{ x }}{% endfor %}",
    "{{ raise_exception('stop') }}", "{% if fa %}{{ raise_exception('stop') }}{% endif %}ok", "{% if fa %}{{ x|nope }}{% endif %}ok", "{% for x in list %}", "{% endif %}", "{% if t %}{% endfor %}", "{% nope %}", "{% include 'x' %}", "{% extends 'x' %}",
    "{{ 1", "{% if t", "{# x", "{{ }}", "{% %}", "{% raw %}", "{{ (1 }}", "{{ 1) }}", "{{ [1} }}", "{{ 'a }}", "{% break %}", "{% if %}{% endif %}", "{% for in x %}{% endfor %}", "{% for x of y %}{% endfor %}", "{% elif t %}", "{{ a.b. }}", "{{ 1|}}", "{{ x is }}",
    "{{- '  a' }}", "a{{ '' }}\n\nb", "{% for x in list -%}\n  {{ x }}\n{%- endfor %}", "{% for x in list %}\n{{ x }}\n{% endfor %}\n", "  {%- for x in list %} {{ x }} {% endfor -%}  ", "{% set x = 5 -%}\n   {{ x }}", "a\n{% set x = 1 %}\nb\n{% set y = 2 %}\n\nc",
    "{% if t %}\n    {{- s }}\n{% endif %}", "{{ s }}\n    {%- if t %}\n        x\n    {%- endif %}\n", "{%if t%}x{%endif%}", "{{s}}{{-s-}}{{s}}", "{% if t: %}x{% endif %}", "{% for m in people: %}{{ m.name }}{% endfor %}",
    "{% for x in list if x > 1 %}{{ loop.nextitem }}{{ loop.revindex }} {% endfor %}", "{% for x in [1,2,3] %}{% set l = loop %}{{ l.index }}{% endfor %}", "{% for x in (1, 2) %}{{ x }}{% endfor %}", "{% for x in 1, 2 %}{{ x }}{% endfor %}", "{% for x in list if t else elist %}{{ x }}{% endfor %}", "{% for x in (list if t else elist) %}{{ x }}{% endfor %}",
    "{{ 1, 2 }}", "{{ (1 if t else 2), 3 }}", "{% if 1, 2 %}x{% endif %}", "{% if (t if fa else t) %}x{% endif %}", "{{ 'a' if t }}{{ 'b' if fa }}", "{{ loop }}", "{% for x in d.values() %}{{ x }}{% endfor %}", "{% for x in d.keys()|sort %}{{ x }}{% endfor %}", "{{ d.update({'z': 1}) }}",
    "{% for x in people|groupby('age') %}{{ x[0] }}:{{ x[1]|map(attribute='name')|join(',') }};{% endfor %}", "{% for age, group in people|groupby('age') %}{{ age }}{{ group|length }}{% endfor %}", "{% for row in list|batch(2) %}{{ row|join('-') }};{% endfor %}",
    "{% set ns = namespace(l=[]) %}{% for x in list %}{% set ns.l = ns.l + [x * 2] %}{% endfor %}{{ ns.l }}", "{% set messages = people[1:] %}{{ messages|length }}{{ people|length }}", "{% set loop_messages = people[::-1] %}{{ loop_messages[0].name }}", "{% for x in people[::-1] %}{{ x.name }}{{ loop.index0 }}{% endfor %}",
    "{%- set x = namespace(a=1, b='q') -%}{{ x.a ~ x['b'] }}", "{% set ns = namespace(i=0) %}{% for a in list %}{% for b in list %}{% set ns.i = ns.i + 1 %}{% endfor %}{% endfor %}{{ ns.i }}", "{% macro m(x) %}{% for y in x %}{{ y }}{% endfor %}{% endmacro %}{{ m(list) }}{{ m(x=s) }}", "{% macro a() %}A{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}",
    "{% set x = 'a' %}{% set x = x ~ 'b' %}{% set x = x ~ 'c' %}{{ x }}", "{% if s is string and s and s[0] == 'H' %}ok{% endif %}", "{% if d.b is defined and d.b is not none and d.b > 0 %}ok{% endif %}", "{% if not (s is defined) or t %}ok{% endif %}", "{% if t %}{% if fa %}a{% else %}b{% endif %}{% else %}c{% endif %}",
    "{% for x in list %}{% if loop.first %}<{% elif loop.last %}>{% else %}|{% endif %}{{ x }}{% endfor %}", "{% set _ = 5 %}{{ _ }}", "{% set été = 1 %}{{ été }}", "é{{ 'ü' }}\u00a0{%- if t %}x{% endif %}", "{{ '\\u4f60' }}", "{{ \"\\n\"|length }}", "{{ 'a\nb' }}", "{% if t %}{# c #}{% endif %}\n x",
]

FAMILIES = {
    "chatml": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "qwen": """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are helpful.' }}
    {%- endif %}
    {{- "\\n\\n# Tools\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}{{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- endif %}
{%- set ns = namespace(last=messages|length - 1, multi=true) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi and message.role == "user" and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi = false %}{%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set content = message.content %}
        {%- set reasoning = '' %}
        {%- if message.reasoning_content is defined and message.reasoning_content is not none %}
            {%- set reasoning = message.reasoning_content %}
        {%- elif '</think>' in message.content %}
            {%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}
            {%- set reasoning = message.content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last and (loop.last or (not loop.last and reasoning)) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls or [] %}
            {%- if tool_call.function %}{%- set tool_call = tool_call.function %}{%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}{{- tool_call.name }}{{- '", "arguments": ' }}{{- tool_call.arguments | tojson }}{{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n<tool_response>\\n' }}{{- message.content }}{{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
""",
    "llama3": """{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}{{- "Environment: ipython\\n" }}{%- endif %}
{{- system_message }}<|eot_id|>
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}{{- raise_exception("This model only supports single tool-calls at once!") }}{%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
        {{- '{"name": "' + tool_call.name + '", ' }}{{- '"parameters": ' }}{{- tool_call.arguments | tojson }}{{- "}<|eot_id|>" }}
    {%- else %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}{{- message.content | tojson }}{%- else %}{{- message.content }}{%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}
""",
    "mistral": """{%- if messages[0]["role"] == "system" %}{%- set system_message = messages[0]["content"] %}{%- set loop_messages = messages[1:] %}{%- else %}{%- set loop_messages = messages %}{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace(index=0) %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}{{- raise_exception("After the optional system message, conversation roles must alternate user/assistant") }}{%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}{{- "[AVAILABLE_TOOLS] [" }}{%- for tool in tools %}{%- set tool = tool.function %}{{- '{"type": "function", "function": {' }}{%- for key, val in tool.items() if key != "return" %}{%- if val is string %}{{- '"' + key + '": "' + val + '"' }}{%- else %}{{- '"' + key + '": ' + val|tojson }}{%- endif %}{%- if not loop.last %}{{- ", " }}{%- endif %}{%- endfor %}{{- "}}" }}{%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" }}{%- endif %}{%- endfor %}{{- "[/AVAILABLE_TOOLS]" }}{%- endif %}
        {%- if loop.last and system_message is defined %}{{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}{%- else %}{{- "[INST] " + message["content"] + "[/INST]" }}{%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}{%- for tool_call in message.tool_calls %}{%- set out = tool_call.function|tojson %}{{- out[:-1] }}{{- ', "id": "' + tool_call.id + '"}' }}{%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" + eos_token }}{%- endif %}{%- endfor %}
    {%- elif message["role"] == "assistant" %}{{- " " + message["content"]|trim + eos_token}}
    {%- elif message["role"] == "tool" %}{{- '[TOOL_RESULTS] {"content": ' + message.content|string + ', "call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- else %}{{- raise_exception("Only user and assistant roles are supported") }}{%- endif %}
{%- endfor %}
""",
    "gemma": "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}",
    "phi": "{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}{{'<|system|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] in ['user', 'assistant'] %}{{'<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
    "trained": "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content + eos_token }}{% endgeneration %}{% else %}{{ '[' + m.role + ']' + m.content }}{% endif %}{% endfor %}",
}
ARGS = {"city": "Málaga", "days": 3}
CALL = {"id": "call00001", "type": "function", "function": {"name": "weather", "arguments": ARGS}}
TOOL = {"type": "function", "function": {"name": "weather", "description": "Look <up>",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
CONVERSATIONS = [
    [{"role": "user", "content": " Hello "}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi 你好"},
     {"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "{{ x }} <b>"}],
    [{"role": "user", "content": "2+2"}, {"role": "assistant", "content": "<think>\nhm\n</think>\n\n4"},
     {"role": "user", "content": "3"}, {"role": "assistant", "content": "ok", "reasoning_content": "why"}],
    [{"role": "user", "content": "w"}, {"role": "assistant", "content": "", "tool_calls": [CALL]},
     {"role": "tool", "content": "sunny", "tool_call_id": "call00001"}],
    [{"role": "assistant", "content": "first"}],
]


def render(template, variables):
    try:
        return _compile_jinja_template(template).render(**variables)
    except Exception:  # whatever it is: there is no text
        return None


def plain(text):
    """Addresses of objects differ from run to run."""
    return text is None or " at 0x" not in text and "<jinja2" not in text


def main():
    cases = []
    for line in EXPRESSIONS.strip("\n").replace("\\\n", "\x00").split("\n"):
        for expression in line.replace("\x00", "\\\n").split(" | "):
            if expression.strip():
                cases.append("{{ " + expression + " }}")
    cases += STATEMENTS
    pairs = [[c, render(c, CONTEXT)] for c in dict.fromkeys(cases)]
    pairs = [p for p in pairs if plain(p[1])]
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    families = {}
    for name, template in FAMILIES.items():
        rows = []
        for number, messages in enumerate(CONVERSATIONS):
            for tools in (None, [TOOL]):
                for prompt in (False, True):
                    rows.append([number, tools is not None, prompt, render(template, {
                        **tokens, "messages": messages, "tools": tools, "documents": None,
                        "add_generation_prompt": prompt})])
        families[name] = {"template": template, "rows": rows}
    json.dump({"context": CONTEXT, "cases": pairs, "tools": [TOOL], "conversations": CONVERSATIONS,
               "families": families}, sys.stdout, ensure_ascii=False, indent=0)
    print()


if __name__ == "__main__":
    main()
