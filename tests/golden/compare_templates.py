#!/usr/bin/env python3
"""Real chat templates, rendered here and by transformers: the texts must be equal, and a template
that refuses a conversation there must refuse it here.

Run by hand; needs transformers and jinja2. Templates are given by the caller, as .jinja files or
folders of them; nothing of them is kept.
Usage: LIBLLM=build/lib/libllm.so compare_templates.py PATH...
"""
import itertools
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "examples" / "python"))
import libllm  # noqa: E402
from transformers.utils.chat_template_utils import render_jinja_template  # noqa: E402

TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Look up <the> weather & \"more\" in a città",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "Name of the city"},
        "unit": {"type": "string", "enum": ["°C", "°F"], "default": "°C"},
        "days": {"type": "integer", "minimum": 1}}, "required": ["city"]}}}
CLOCK = {"type": "function", "function": {"name": "clock", "description": "", "parameters": {
    "type": "object", "properties": {}}}}


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def system(text):
    return {"role": "system", "content": text}


def call(name, arguments, number=1):
    return {"id": f"call{number:05d}", "type": "function",
            "function": {"name": name, "arguments": arguments}}


CALLS = [call("get_weather", {"city": "Málaga", "days": 3, "real": 1.5, "yes": True, "none": None})]
CONVERSATIONS = {
    "one": [user("Hello")],
    "system": [system("Be brief."), user("Hello")],
    "turns": [user("Hi"), assistant("Hello!"), user("How are you?")],
    "many turns": [system(" You are kind. "), user("1"), assistant(" 2 "), user("\n3\n"),
                   assistant("4"), user("5"), assistant("6")],
    "ends with answer": [user("Say ok"), assistant("ok")],
    "empty": [user("")],
    "empty answer": [user("a"), assistant(""), user("b")],
    "no messages": [],
    "unicode": [system("Straße ÉÀ 你好 \U0001F600"), user("العربية \u200d 'single' \"double\" \\n \t x")],
    "tags inside": [user("{{ 1 }} {% if %} <|im_end|> </s> [INST] <b>&amp;</b>")],
    "white space": [user("  lines\n\n  and  \n"), assistant("\n answer \n\n"), user(" ")],
    "typed": [{"role": "user", "content": [{"type": "text", "text": "Look: "}, {"type": "text",
              "text": "there"}]}],
    "typed system": [{"role": "system", "content": [{"type": "text", "text": "S"}]},
                     {"role": "user", "content": [{"type": "text", "text": "U"}]}],
    "image": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}],
    "wrong order": [user("a"), user("b")],
    "answer first": [assistant("Welcome"), user("Hi")],
    "late system": [user("a"), assistant("b"), system("c"), user("d")],
    "developer": [{"role": "developer", "content": "D"}, user("x")],
    "thinking": [user("2+2?"), assistant("<think>\neasy\n</think>\n\n4"), user("3+3?")],
    "reasoning": [user("2+2?"), assistant("4", reasoning_content="two and two"), user("3+3?"),
                  assistant("6", reasoning_content="six")],
    "tool call": [user("Weather?"), assistant("", tool_calls=CALLS)],
    "tool call null": [user("Weather?"), assistant(None, tool_calls=CALLS)],
    "tool answer": [system("S"), user("Weather?"), assistant("", tool_calls=CALLS),
                    {"role": "tool", "name": "get_weather", "tool_call_id": "call00001",
                     "content": "{\"t\": 21.5, \"sky\": \"clear\"}"}],
    "tool round": [user("Weather?"), assistant("Let me see.", tool_calls=CALLS),
                   {"role": "tool", "name": "get_weather", "tool_call_id": "call00001",
                    "content": "sunny"}, assistant("It is sunny."), user("Thanks")],
    "two calls": [user("Weather and time?"), assistant("", tool_calls=CALLS + [call("clock", {}, 2)]),
                  {"role": "tool", "name": "get_weather", "tool_call_id": "call00001",
                   "content": "rain"},
                  {"role": "tool", "name": "clock", "tool_call_id": "call00002", "content": "12:00"},
                  assistant("Rain, noon.")],
    "unknown role": [{"role": "narrator", "content": "Once"}, user("x")],
    "no content": [{"role": "user"}],
}
VARIANTS = [{}, {"add_generation_prompt": True}, {"tools": [WEATHER]},
            {"tools": [WEATHER, CLOCK], "add_generation_prompt": True},
            {"add_generation_prompt": True, "enable_thinking": False},
            {"add_generation_prompt": True, "enable_thinking": True, "date_string": "1 Jan 2030"},
            {"continue_final_message": True}]


def reference(text, messages, options):
    try:
        rendered, _ = render_jinja_template([messages], chat_template=text, **TOKENS, **options)
        return rendered[0], None
    except Exception as error:  # whatever it is: the template did not render
        return None, f"{type(error).__name__}: {error}"


def ours(text, messages, options):
    options = dict(options)
    tools = options.pop("tools", None)
    try:
        chat = libllm.ChatTemplate(text)
        return chat.render(messages, tools=tools,
                           add_generation_prompt=options.pop("add_generation_prompt", False),
                           continue_final_message=options.pop("continue_final_message", False),
                           **TOKENS, **options), None
    except libllm.Error as error:
        return None, str(error)


def main(paths):
    files = []
    for path in map(pathlib.Path, paths):
        files += sorted(path.rglob("*")) if path.is_dir() else [path]
    files = [f for f in files if f.is_file()]
    agreed = refused = differ = 0
    for file in files:
        text = file.read_text(encoding="utf-8")
        problems = []
        for (name, messages), options in itertools.product(CONVERSATIONS.items(), VARIANTS):
            theirs, their_error = reference(text, json.loads(json.dumps(messages)), options)
            mine, my_error = ours(text, messages, options)
            if theirs == mine:
                agreed += theirs is not None
                refused += theirs is None
            else:
                differ += 1
                problems.append((name, options, their_error or theirs, my_error or mine))
        print(f"{file.name}: {len(problems)} of {len(CONVERSATIONS) * len(VARIANTS)} differ",
              flush=True)
        for name, options, theirs, mine in problems[:3]:
            shown = {k: "..." if k == "tools" else v for k, v in options.items()}
            print(f"    {name} {shown}\n      theirs: {theirs!r:.700}\n      ours:   {mine!r:.700}")
    print(f"{len(files)} templates: {agreed} texts equal, {refused} refused by both, {differ} differ")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
