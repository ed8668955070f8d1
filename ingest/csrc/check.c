/* A walk over a request by a table of what each field is: every text UTF-8, every span with sound ids.
 *
 * Source: opentelemetry-proto 1.x, trace/v1/trace.proto, common/v1/common.proto.
 */
#include "check.h"

#include <string.h>

#define MAX_DEPTH 40
#define FIELDS 17

/* What a field holds; from REQUEST on it is a message of that shape. */
enum {
    OTHER,
    NUMBER,
    EIGHT_BYTES,
    FOUR_BYTES,
    TEXT,
    BINARY,
    TRACE_ID,
    SPAN_ID,
    PARENT_ID,
    REQUEST,
    RESOURCE_SPANS,
    RESOURCE,
    SCOPE_SPANS,
    SCOPE,
    SPAN,
    EVENT,
    LINK,
    STATUS,
    PAIR,
    VALUE,
    LIST,
    MAPPING,
    KINDS
};

static const uint8_t FIELD_KINDS[KINDS][FIELDS] = {
    [REQUEST] = {[1] = RESOURCE_SPANS},
    [RESOURCE_SPANS] = {[1] = RESOURCE, [2] = SCOPE_SPANS, [3] = TEXT},
    [RESOURCE] = {[1] = PAIR, [2] = NUMBER},
    [SCOPE_SPANS] = {[1] = SCOPE, [2] = SPAN, [3] = TEXT},
    [SCOPE] = {[1] = TEXT, [2] = TEXT, [3] = PAIR, [4] = NUMBER},
    [SPAN] = {[1] = TRACE_ID,
              [2] = SPAN_ID,
              [3] = TEXT,
              [4] = PARENT_ID,
              [5] = TEXT,
              [6] = NUMBER,
              [7] = EIGHT_BYTES,
              [8] = EIGHT_BYTES,
              [9] = PAIR,
              [10] = NUMBER,
              [11] = EVENT,
              [12] = NUMBER,
              [13] = LINK,
              [14] = NUMBER,
              [15] = STATUS,
              [16] = FOUR_BYTES},
    [EVENT] = {[1] = EIGHT_BYTES, [2] = TEXT, [3] = PAIR, [4] = NUMBER},
    [LINK] = {[1] = BINARY, [2] = BINARY, [3] = TEXT, [4] = PAIR, [5] = NUMBER, [6] = FOUR_BYTES},
    [STATUS] = {[2] = TEXT, [3] = NUMBER},
    [PAIR] = {[1] = TEXT, [2] = VALUE},
    [VALUE] = {[1] = TEXT, [2] = NUMBER, [3] = NUMBER, [4] = EIGHT_BYTES, [5] = LIST, [6] = MAPPING, [7] = BINARY},
    [LIST] = {[1] = VALUE},
    [MAPPING] = {[1] = PAIR},
};

static uint32_t wire_type_of(unsigned kind)
{
    return kind == NUMBER ? VARINT : kind == EIGHT_BYTES ? FIXED64 : kind == FOUR_BYTES ? FIXED32 : BYTES;
}

/* Bytes of the character that begins here, 0 where it is none: too long, a surrogate, beyond U+10FFFF or cut off. */
static size_t character_size(const uint8_t *at, size_t left)
{
    uint8_t lead = at[0], least = 0x80, most = 0xBF;
    size_t size = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
    if (!size || size > left)
        return 0;
    if (lead == 0xE0)
        least = 0xA0;
    else if (lead == 0xED)
        most = 0x9F;
    else if (lead == 0xF0)
        least = 0x90;
    else if (lead == 0xF4)
        most = 0x8F;
    if (size > 1 && (at[1] < least || at[1] > most))
        return 0;
    for (size_t place = 2; place < size; place++)
        if ((at[place] & 0xC0) != 0x80)
            return 0;
    return size;
}

bool is_utf8(Stretch text)
{
    while (text.at < text.end) {
        uint64_t word;
        if (wire_size(text) >= sizeof word) {
            memcpy(&word, text.at, sizeof word);
            if (!(word & 0x8080808080808080u)) {
                text.at += sizeof word;
                continue;
            }
        }
        size_t size = character_size(text.at, wire_size(text));
        if (!size)
            return false;
        text.at += size;
    }
    return true;
}

static bool is_id(Stretch bytes, size_t size)
{
    static const uint8_t nothing[16];
    return wire_size(bytes) == size && memcmp(bytes.at, nothing, size) != 0;
}

static bool check_message(Stretch message, unsigned shape, unsigned depth, size_t *spans)
{
    bool has_trace = false, has_span = false;
    if (!depth)
        return false;
    while (message.at < message.end) {
        Field field;
        if (!wire_next(&message, &field))
            return false;
        unsigned kind = field.number < FIELDS ? FIELD_KINDS[shape][field.number] : OTHER;
        if (kind == OTHER || field.type != wire_type_of(kind) || (kind == TEXT && !is_utf8(field.bytes)) ||
            (kind == TRACE_ID && !(has_trace = is_id(field.bytes, 16))) ||
            (kind == SPAN_ID && !(has_span = is_id(field.bytes, 8))) ||
            (kind == PARENT_ID && wire_size(field.bytes) && wire_size(field.bytes) != 8) ||
            (kind >= REQUEST && !check_message(field.bytes, kind, depth - 1, spans)))
            return false;
    }
    *spans += shape == SPAN;
    return shape != SPAN || (has_trace && has_span);
}

bool check_request(Stretch message, size_t *spans)
{
    *spans = 0;
    return check_message(message, REQUEST, MAX_DEPTH, spans);
}
