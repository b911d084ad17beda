/* SPDX-License-Identifier: MIT
 *
 * Sets of characters in patterns: escapes, \p{..}, [..] with ranges, negation, nesting and &&.
 */
#include "tokenizer/codepoint.h"
#include "tokenizer/regex_reader.h"

#include <string.h>

llm_status regex_refuse(const struct regex_reader *reader, const char *what)
{
    return status_set(LLM_E_UNSUPPORTED, "regular expression \"%.300s\": %s is not supported",
                      reader->pattern, what);
}

llm_status regex_malformed(const struct regex_reader *reader, const char *what)
{
    return status_set(LLM_E_FORMAT, "regular expression \"%.300s\": %s", reader->pattern, what);
}

llm_status regex_add_item(struct regex_reader *reader, enum set_op op, uint32_t low, uint32_t high)
{
    struct regex_program *program = reader->program;
    llm_status status;

    if (program->item_count >= REGEX_MAX_ITEMS)
        return regex_refuse(reader, "so many characters in classes");
    status = memory_grow(program->memory, (void **)&program->items, &program->item_capacity,
                         program->item_count + 1, sizeof *program->items);
    if (!status)
        program->items[program->item_count++] = (struct set_item){op, low, high};
    return status;
}

/* ---- named classes ---- */

#define BIT(name) (UINT32_C(1) << CATEGORY_##name)

static const struct {
    const char *name;
    uint32_t categories;
} properties[] = {
    {"L", BIT(LU) | BIT(LL) | BIT(LT) | BIT(LM) | BIT(LO)},
    {"Letter", BIT(LU) | BIT(LL) | BIT(LT) | BIT(LM) | BIT(LO)},
    {"Lu", BIT(LU)},
    {"Ll", BIT(LL)},
    {"Lt", BIT(LT)},
    {"Lm", BIT(LM)},
    {"Lo", BIT(LO)},
    {"M", BIT(MN) | BIT(MC) | BIT(ME)},
    {"Mark", BIT(MN) | BIT(MC) | BIT(ME)},
    {"Mn", BIT(MN)},
    {"Mc", BIT(MC)},
    {"Me", BIT(ME)},
    {"N", BIT(ND) | BIT(NL) | BIT(NO)},
    {"Number", BIT(ND) | BIT(NL) | BIT(NO)},
    {"Nd", BIT(ND)},
    {"Nl", BIT(NL)},
    {"No", BIT(NO)},
    {"P", BIT(PC) | BIT(PD) | BIT(PS) | BIT(PE) | BIT(PI) | BIT(PF) | BIT(PO)},
    {"Punctuation", BIT(PC) | BIT(PD) | BIT(PS) | BIT(PE) | BIT(PI) | BIT(PF) | BIT(PO)},
    {"Pc", BIT(PC)},
    {"Pd", BIT(PD)},
    {"Ps", BIT(PS)},
    {"Pe", BIT(PE)},
    {"Pi", BIT(PI)},
    {"Pf", BIT(PF)},
    {"Po", BIT(PO)},
    {"S", BIT(SM) | BIT(SC) | BIT(SK) | BIT(SO)},
    {"Symbol", BIT(SM) | BIT(SC) | BIT(SK) | BIT(SO)},
    {"Sm", BIT(SM)},
    {"Sc", BIT(SC)},
    {"Sk", BIT(SK)},
    {"So", BIT(SO)},
    {"Z", BIT(ZS) | BIT(ZL) | BIT(ZP)},
    {"Separator", BIT(ZS) | BIT(ZL) | BIT(ZP)},
    {"Zs", BIT(ZS)},
    {"Zl", BIT(ZL)},
    {"Zp", BIT(ZP)},
    {"C", BIT(CC) | BIT(CF) | BIT(CS) | BIT(CO) | BIT(CN)},
    {"Cc", BIT(CC)},
    {"Cf", BIT(CF)},
    {"Co", BIT(CO)},
    {"Cn", BIT(CN)},
};

static const uint32_t spaces[][2] = {{0x9, 0xD},
                                     {0x20, 0x20},
                                     {0x85, 0x85},
                                     {0xA0, 0xA0},
                                     {0x1680, 0x1680},
                                     {0x2000, 0x200A},
                                     {0x2028, 0x2029},
                                     {0x202F, 0x202F},
                                     {0x205F, 0x205F},
                                     {0x3000, 0x3000},
                                     {0, 0}};
/* Unicode 16.0. */
static const uint32_t han[][2] = {{0x2E80, 0x2E99},
                                  {0x2E9B, 0x2EF3},
                                  {0x2F00, 0x2FD5},
                                  {0x3005, 0x3005},
                                  {0x3007, 0x3007},
                                  {0x3021, 0x3029},
                                  {0x3038, 0x303B},
                                  {0x3400, 0x4DBF},
                                  {0x4E00, 0x9FFF},
                                  {0xF900, 0xFA6D},
                                  {0xFA70, 0xFAD9},
                                  {0x16FE2, 0x16FE3},
                                  {0x16FF0, 0x16FF1},
                                  {0x20000, 0x2A6DF},
                                  {0x2A700, 0x2B739},
                                  {0x2B740, 0x2B81D},
                                  {0x2B820, 0x2CEA1},
                                  {0x2CEB0, 0x2EBE0},
                                  {0x2EBF0, 0x2EE5D},
                                  {0x2F800, 0x2FA1D},
                                  {0x30000, 0x3134A},
                                  {0x31350, 0x323AF},
                                  {0, 0}};
static const uint32_t hiragana[][2] = {{0x3041, 0x3096},
                                       {0x309D, 0x309F},
                                       {0x1B001, 0x1B11F},
                                       {0x1B132, 0x1B132},
                                       {0x1B150, 0x1B152},
                                       {0x1F200, 0x1F200},
                                       {0, 0}};
static const uint32_t katakana[][2] = {{0x30A1, 0x30FA},   {0x30FD, 0x30FF},   {0x31F0, 0x31FF},
                                       {0x32D0, 0x32FE},   {0x3300, 0x3357},   {0xFF66, 0xFF6F},
                                       {0xFF71, 0xFF9D},   {0x1AFF0, 0x1AFF3}, {0x1AFF5, 0x1AFFB},
                                       {0x1AFFD, 0x1AFFE}, {0x1B000, 0x1B000}, {0x1B120, 0x1B122},
                                       {0x1B155, 0x1B155}, {0x1B164, 0x1B167}, {0, 0}};
static const uint32_t hangul[][2] = {
    {0x1100, 0x11FF}, {0x302E, 0x302F}, {0x3131, 0x318E}, {0x3200, 0x321E}, {0x3260, 0x327E},
    {0xA960, 0xA97C}, {0xAC00, 0xD7A3}, {0xD7B0, 0xD7C6}, {0xD7CB, 0xD7FB}, {0xFFA0, 0xFFBE},
    {0xFFC2, 0xFFC7}, {0xFFCA, 0xFFCF}, {0xFFD2, 0xFFD7}, {0xFFDA, 0xFFDC}, {0, 0}};

static llm_status add_ranges(struct regex_reader *reader, const uint32_t (*ranges)[2])
{
    llm_status status = LLM_OK;

    for (size_t i = 0; ranges[i][1] && !status; i++) {
        status = regex_add_item(reader, SET_RANGE, ranges[i][0], ranges[i][1]);
        if (!status && i > 0)
            status = regex_add_item(reader, SET_OR, 0, 0);
    }
    return status;
}

static llm_status add_property(struct regex_reader *reader, const char *name, size_t size)
{
    static const struct {
        const char *name;
        const uint32_t (*ranges)[2];
    } scripts[] = {
        {"Han", han}, {"Hiragana", hiragana}, {"Katakana", katakana}, {"Hangul", hangul}};
    char message[80];

    for (size_t i = 0; i < sizeof properties / sizeof *properties; i++) {
        if (strlen(properties[i].name) == size && memcmp(properties[i].name, name, size) == 0)
            return regex_add_item(reader, SET_CATEGORIES, properties[i].categories, 0);
    }
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        if (strlen(scripts[i].name) == size && memcmp(scripts[i].name, name, size) == 0)
            return add_ranges(reader, scripts[i].ranges);
    }
    size = size < 40 ? size : 40;
    memcpy(message, "\\p{", 3);
    memcpy(message + 3, name, size);
    memcpy(message + 3 + size, "}", 2);
    return regex_refuse(reader, message);
}

/* After "\p" or "\P". */
static llm_status read_property(struct regex_reader *reader, bool negated)
{
    const char *p = reader->p;
    const char *close;
    llm_status status;

    if (p == reader->end || *p != '{')
        return regex_refuse(reader, "\\p without braces");
    p++;
    close = memchr(p, '}', (size_t)(reader->end - p));
    if (!close)
        return regex_malformed(reader, "\\p{ without end");
    if (p < close && *p == '^') {
        negated = !negated;
        p++;
    }
    status = add_property(reader, p, (size_t)(close - p));
    reader->p = close + 1;
    if (!status && reader->fold)
        return regex_refuse(reader, "\\p in a group that ignores case");
    return !status && negated ? regex_add_item(reader, SET_NOT, 0, 0) : status;
}

static bool read_hexadecimal(struct regex_reader *reader, int most, uint32_t *c)
{
    int count = 0;

    *c = 0;
    for (; count < most && reader->p < reader->end; count++, reader->p++) {
        char digit = *reader->p;
        unsigned value = (unsigned)(digit - '0') < 10 ? (unsigned)(digit - '0')
                         : (unsigned)((digit | 0x20) - 'a') < 6
                             ? (unsigned)((digit | 0x20) - 'a') + 10
                             : 16;
        if (value == 16)
            break;
        *c = *c * 16 + value;
    }
    return count > 0 && *c < 0x110000;
}

llm_status regex_read_escape(struct regex_reader *reader, bool *is_set, uint32_t *c)
{
    static const char controls[] = "t\tn\nr\rf\fv\va\ae\033";
    char kind;
    llm_status status = LLM_OK;

    if (reader->p == reader->end)
        return regex_malformed(reader, "a backslash at the end");
    kind = *reader->p++;
    *is_set = true;
    if (kind == 's' || kind == 'S')
        status = add_ranges(reader, spaces);
    else if (kind == 'd' || kind == 'D')
        status = regex_add_item(reader, SET_CATEGORIES, BIT(ND), 0);
    else if (kind == 'w' || kind == 'W')
        status = regex_add_item(reader, SET_WORD, 0, 0);
    else if (kind == 'p' || kind == 'P')
        return read_property(reader, kind == 'P');
    else
        *is_set = false;
    if (*is_set)
        return !status && kind < 'a' ? regex_add_item(reader, SET_NOT, 0, 0) : status;
    for (size_t i = 0; controls[i]; i += 2) {
        if (controls[i] == kind) {
            *c = (unsigned char)controls[i + 1];
            return LLM_OK;
        }
    }
    if (kind == 'u' || kind == 'x') {
        bool braces = kind == 'x' && reader->p < reader->end && *reader->p == '{';
        const char *start = reader->p += braces;
        bool good = read_hexadecimal(reader, braces ? 8 : kind == 'u' ? 4 : 2, c);

        if (good && kind == 'u' && reader->p - start != 4)
            good = false;
        if (good && braces) {
            good = reader->p < reader->end && *reader->p == '}';
            reader->p += good;
        }
        if (good && kind == 'x' && !braces && *c > 0x7F)
            return regex_refuse(reader, "\\x of a byte that is not ASCII");
        return good ? LLM_OK : regex_malformed(reader, "a malformed \\x or \\u");
    }
    if ((unsigned)((kind | 0x20) - 'a') < 26 || (unsigned)(kind - '0') < 10) {
        char message[] = "the escape \\?";

        message[sizeof message - 2] = kind;
        return regex_refuse(reader, message);
    }
    reader->p--;
    return regex_read_char(reader, c);
}

llm_status regex_read_char(struct regex_reader *reader, uint32_t *c)
{
    const unsigned char *cursor = (const unsigned char *)reader->p;
    bool valid;

    *c = utf8_next(&cursor, (const unsigned char *)reader->end, &valid);
    reader->p = (const char *)cursor;
    return valid ? LLM_OK : regex_malformed(reader, "not UTF-8");
}

/* ---- one character, or a range, with its other cases ---- */

static llm_status add_other_case(struct regex_reader *reader, uint32_t low, uint32_t high)
{
    static const struct {
        uint32_t letter;
        uint32_t other;
    } foreign[] = {{'s', 0x17F}, {'k', 0x212A}};
    llm_status status = LLM_OK;

    for (uint32_t c = low; c <= high && !status; c++) {
        if ((c | 0x20) - 'a' >= 26)
            continue;
        status = regex_add_item(reader, SET_RANGE, c ^ 0x20, c ^ 0x20);
        if (!status)
            status = regex_add_item(reader, SET_OR, 0, 0);
        for (size_t i = 0; i < 2 && !status; i++) {
            if ((c | 0x20) != foreign[i].letter)
                continue;
            status = regex_add_item(reader, SET_RANGE, foreign[i].other, foreign[i].other);
            if (!status)
                status = regex_add_item(reader, SET_OR, 0, 0);
        }
    }
    return status;
}

llm_status regex_add_range(struct regex_reader *reader, uint32_t low, uint32_t high)
{
    llm_status status;

    if (low > high)
        return regex_malformed(reader, "a range that ends before it begins");
    if (reader->fold && high >= 0x80)
        return regex_refuse(reader, "ignoring the case of other than ASCII");
    status = regex_add_item(reader, SET_RANGE, low, high);
    return !status && reader->fold ? add_other_case(reader, low, high) : status;
}

/* ---- [..] ---- */

/* A class that is being read. */
struct level {
    bool negated;
    bool any;     /* holds something since the last && */
    bool operand; /* something stands before an && */
};

static llm_status close_level(struct regex_reader *reader, struct level *level)
{
    llm_status status = LLM_OK;

    if (!level->any)
        return regex_malformed(reader, "an empty class");
    if (level->operand)
        status = regex_add_item(reader, SET_AND, 0, 0);
    if (!status && level->negated)
        status = regex_add_item(reader, SET_NOT, 0, 0);
    return status;
}

static llm_status join(struct regex_reader *reader, struct level *level)
{
    bool before = level->any;

    level->any = true;
    return before ? regex_add_item(reader, SET_OR, 0, 0) : LLM_OK;
}

/* A character, escape or range inside a class. */
static llm_status read_member(struct regex_reader *reader, struct level *level)
{
    bool is_set = false;
    uint32_t low;
    uint32_t high;
    llm_status status;

    if (*reader->p == '\\') {
        reader->p++;
        status = regex_read_escape(reader, &is_set, &low);
    } else {
        status = regex_read_char(reader, &low);
    }
    if (status || is_set)
        return status ? status : join(reader, level);
    high = low;
    if (reader->end - reader->p >= 2 && reader->p[0] == '-' && reader->p[1] != ']') {
        reader->p++;
        if (*reader->p == '[')
            return regex_refuse(reader, "a class in a range");
        if (*reader->p == '\\') {
            reader->p++;
            status = regex_read_escape(reader, &is_set, &high);
        } else {
            status = regex_read_char(reader, &high);
        }
        if (!status && is_set)
            return regex_refuse(reader, "a class in a range");
    }
    if (!status)
        status = regex_add_range(reader, low, high);
    return status ? status : join(reader, level);
}

llm_status regex_read_class(struct regex_reader *reader)
{
    enum { DEPTH = 8 };
    struct level levels[DEPTH];
    size_t depth = 0;
    llm_status status = LLM_OK;

    while (!status) {
        const char *p = reader->p;
        size_t left = (size_t)(reader->end - p);

        if (left == 0)
            return regex_malformed(reader, "a class without end");
        if (*p == '[') {
            if (left > 1 && p[1] == ':')
                return regex_refuse(reader, "[:name:]");
            if (depth == DEPTH)
                return regex_refuse(reader, "nesting classes that deep");
            reader->p += 1 + (left > 1 && p[1] == '^');
            levels[depth++] = (struct level){.negated = left > 1 && p[1] == '^'};
            if (reader->p < reader->end && *reader->p == ']')
                return regex_refuse(reader, "] as the first of a class");
        } else if (*p == ']') {
            reader->p++;
            status = close_level(reader, &levels[depth - 1]);
            if (--depth == 0)
                return status;
            if (!status)
                status = join(reader, &levels[depth - 1]);
        } else if (left > 1 && p[0] == '&' && p[1] == '&') {
            struct level *level = &levels[depth - 1];

            reader->p += 2;
            if (!level->any)
                return regex_malformed(reader, "&& without a left side");
            if (level->operand)
                status = regex_add_item(reader, SET_AND, 0, 0);
            level->operand = true;
            level->any = false;
        } else {
            status = read_member(reader, &levels[depth - 1]);
        }
    }
    return status;
}

bool regex_set_holds(const struct regex_program *program, size_t set, uint32_t c, unsigned category,
                     bool word)
{
    bool stack[64];
    size_t depth = 0;
    const struct set_item *item = program->items + program->sets[set].first;
    const struct set_item *end = item + program->sets[set].count;

    for (; item < end; item++) {
        switch (item->op) {
        case SET_RANGE:
            stack[depth++] = c >= item->low && c <= item->high;
            break;
        case SET_CATEGORIES:
            stack[depth++] = (item->low >> category & 1) != 0;
            break;
        case SET_WORD:
            stack[depth++] = word;
            break;
        case SET_OR:
            depth--;
            stack[depth - 1] |= stack[depth];
            break;
        case SET_AND:
            depth--;
            stack[depth - 1] &= stack[depth];
            break;
        case SET_NOT:
            stack[depth - 1] = !stack[depth - 1];
            break;
        }
    }
    return stack[0];
}
