/* SPDX-License-Identifier: MIT
 *
 * Statements repeated by the preprocessor, each time with a constant index: arrays of vectors that
 * are indexed by it become registers with every compiler, which loops, even unrolled, do not
 * guarantee. REPEAT8(i, count, ...) runs the statements for i = 0 .. count - 1, count <= 8
 * constant.
 */
#ifndef KERNELS_REPEAT_H
#define KERNELS_REPEAT_H

#define REPEAT_STEP(NUMBER, i, count, ...)                                                         \
    {                                                                                              \
        enum { i = NUMBER };                                                                       \
        if (i < (int)(count)) {                                                                    \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define REPEAT2(i, count, ...)                                                                     \
    REPEAT_STEP(0, i, count, __VA_ARGS__)                                                          \
    REPEAT_STEP(1, i, count, __VA_ARGS__)
#define REPEAT4(i, count, ...)                                                                     \
    REPEAT2(i, count, __VA_ARGS__)                                                                 \
    REPEAT_STEP(2, i, count, __VA_ARGS__)                                                          \
    REPEAT_STEP(3, i, count, __VA_ARGS__)
#define REPEAT6(i, count, ...)                                                                     \
    REPEAT4(i, count, __VA_ARGS__)                                                                 \
    REPEAT_STEP(4, i, count, __VA_ARGS__)                                                          \
    REPEAT_STEP(5, i, count, __VA_ARGS__)
#define REPEAT8(i, count, ...)                                                                     \
    REPEAT6(i, count, __VA_ARGS__)                                                                 \
    REPEAT_STEP(6, i, count, __VA_ARGS__)                                                          \
    REPEAT_STEP(7, i, count, __VA_ARGS__)

#endif
