/* The patterns on ASCII text, sixty-four bytes at a time: with one bit mask per class of byte, most ends of pieces fall
 * out of shifts and additions. Where they do not (other characters, a slash after a swallowed line break, blank lines with
 * spaces in them) the block is cut short and the scanner goes on.
 *
 * Patterns look ahead, never back, so a block may begin at any start of a piece as if nothing stood before it.
 */
#ifndef INFEROMETER_ASCII_RULES_H
#define INFEROMETER_ASCII_RULES_H

#include "scan_common.h"

/* Bit i stands for byte i of the block. */
struct byte_masks {
    uint64_t letters, capitals, digits, spaces, white, newlines, quotes, slashes, foreign;
};

enum contractions { NO_CONTRACTIONS, JOINED_CONTRACTIONS, SEPARATE_CONTRACTIONS };

struct ascii_rules {
    int case_breaks, slash_in_tail;
    unsigned digits;
    enum contractions contractions;
};

static inline uint64_t bits_below(unsigned count)
{
    return count > 63 ? ~0ull : (1ull << count) - 1;
}

/* Letters straight after a contraction begin a piece. */
static inline uint64_t cut_contractions(const uint8_t *block, uint64_t starts, struct byte_masks m, uint64_t decided,
                                        enum contractions kind)
{
    uint64_t candidates = m.quotes & m.letters >> 1 & decided;
    candidates &= kind == JOINED_CONTRACTIONS ? m.letters << 1 : starts;
    unsigned after = 0;
    for (; candidates; candidates &= candidates - 1) {
        unsigned at = (unsigned)__builtin_ctzll(candidates);
        unsigned length = (unsigned)contraction_length(block, 64, at);
        if (!length || (kind == JOINED_CONTRACTIONS && at == after))
            continue;
        after = at + length;
        starts &= ~(bits_below(length) << at);
        if (kind == SEPARATE_CONTRACTIONS)
            starts |= 1ull << at;
        if (after < 64)
            starts |= m.letters & 1ull << after;
    }
    return starts;
}

/* The starts of pieces within a block that begins with one; only those that hold whatever follows the block. */
static inline uint64_t piece_starts(const uint8_t *block, struct byte_masks m, struct ascii_rules rules)
{
    uint64_t other_white = m.white & ~m.newlines;
    uint64_t marks = ~(m.letters | m.digits | m.white | m.foreign);
    uint64_t marks_start = marks & ~(marks << 1);
    uint64_t single_mark = marks_start & ~(marks >> 1) & ~(m.spaces << 1);

    uint64_t starts = m.letters & ~(m.letters << 1) & ~((other_white | single_mark) << 1);
    if (rules.case_breaks)
        starts |= m.capitals & (m.letters & ~m.capitals) << 1;
    starts |= marks_start & ~(m.spaces << 1);
    if (rules.digits == 1) {
        starts |= m.digits;
    } else {
        uint64_t groups = m.digits & ~(m.digits << 1), inside = m.digits & m.digits << 1;
        for (inside &= inside << 1, inside &= m.digits << 3; groups; groups = groups << 3 & inside)
            starts |= groups;
    }
    starts |= m.white & ~(m.white << 1) & ~(m.newlines & marks << 1);
    starts |= other_white & ~(m.white >> 1);
    starts |= other_white & m.newlines << 1;

    uint64_t unknown = m.foreign | ((other_white + (other_white & m.newlines << 1)) & ~other_white & m.newlines);
    if (rules.slash_in_tail)
        unknown |= (m.newlines + (m.newlines & marks << 1)) & ~m.newlines & m.slashes;
    unsigned known = unknown ? (unsigned)__builtin_ctzll(unknown) : 64;
    if (known < 4)
        return 0;
    uint64_t decided = bits_below(known - 2);
    if (m.white >> (known - 1) & 1) {
        uint64_t others = ~m.white & bits_below(known); /* of the run that touches the unknown, only the start is sure */
        decided = others ? bits_below(65 - (unsigned)__builtin_clzll(others)) : 1;
    }
    if (rules.contractions != NO_CONTRACTIONS && m.quotes)
        starts = cut_contractions(block, starts, m, decided & bits_below(known - 2), rules.contractions);
    return starts & decided & ~1ull;
}

#endif
