/* SPDX-License-Identifier: MIT
 *
 * exp, log, tanh, the logistic and the normal distribution function on lanes, within about 2 ulp;
 * infinities, NaN, zeros, denormals and overflow give what C's functions give. The polynomials are
 * minimax fits of our own (Lawson's iteration in double precision, rounded to float).
 * Included after a lanes header.
 */
#ifndef KERNELS_VECTOR_MATH_H
#define KERNELS_VECTOR_MATH_H

LANES_INLINE vf v_horner(vf x, const float *coefficients, int count)
{
    vf y = v_set(coefficients[count - 1]);

    for (int i = count - 2; i >= 0; i--)
        y = v_fma(y, x, v_set(coefficients[i]));
    return y;
}

/* x = n log 2 + r; e^r = 1 + r + r^2 p(r). */
LANES_INLINE vf v_exp(vf x)
{
    static const float p[] = {4.999999404e-01f, 1.666651517e-01f, 4.166845605e-02f,
                              8.369418792e-03f, 1.381314476e-03f};
    vf n;
    vf r;
    vf y;

    x = v_min(v_set(89.0f), v_max(v_set(-105.0f), x)); /* beyond: infinity and zero */
    n = v_round(v_mul(x, v_set(1.44269504f)));
    r = v_fma(n, v_set(-0.693359375f), x); /* exact: 9 bits times at most 8 */
    r = v_fma(n, v_set(2.12194440e-4f), r);
    y = v_fma(v_mul(r, r), v_horner(r, p, 5), r);
    return v_scale(v_add(y, v_set(1.0f)), n);
}

/* x = 2^e (1 + f), sqrt(1/2) <= 1 + f < sqrt(2); log(1 + f) = f - f^2/2 + f^3 p(f). */
LANES_INLINE vf v_log(vf x)
{
    static const float p[] = {3.333333135e-01f,  -2.500081956e-01f, 2.000122666e-01f,
                              -1.662335694e-01f, 1.420175731e-01f,  -1.316018254e-01f,
                              1.276157647e-01f,  -7.634496689e-02f};
    const vm tiny = v_less(x, v_set(0x1p-126f));
    vf scaled = v_select(tiny, v_mul(x, v_set(0x1p23f)), x);
    vi bits = v_as_int(scaled);
    vi whole = v_shift_right_23(v_sub_i(bits, v_set_i(0x3f3504f3)));
    vf f = v_sub(v_as_float(v_sub_i(bits, v_shift_left_23(whole))), v_set(1.0f));
    vf e = v_add(v_to_float(whole), v_select(tiny, v_set(-23.0f), v_set(0.0f)));
    vf square = v_mul(f, f);
    vf y = v_mul(v_mul(square, f), v_horner(f, p, 8));

    y = v_fma(e, v_set(-2.12194440e-4f), y);
    y = v_fma(square, v_set(-0.5f), y);
    y = v_add(f, y);
    y = v_fma(e, v_set(0.693359375f), y);
    y = v_select(v_less(x, v_set(INFINITY)), y, x); /* +inf, NaN */
    y = v_select(v_less(v_set(0.0f), x), y,
                 v_select(v_equal(x, v_set(0.0f)), v_set(-INFINITY), v_set(NAN)));
    return v_select(v_is_nan(x), x, y);
}

/* log(1 + e) for 0 <= e <= 1, by 2 atanh(e / (2 + e)). */
LANES_INLINE vf v_log1p_unit(vf e)
{
    static const float p[] = {3.333333731e-01f, 1.999943852e-01f, 1.430844218e-01f,
                              1.071382910e-01f, 1.215046719e-01f};
    vf s = v_div(e, v_add(e, v_set(2.0f)));
    vf u = v_mul(s, s);
    vf twice = v_add(s, s);

    return v_fma(v_mul(twice, u), v_horner(u, p, 5), twice);
}

LANES_INLINE vf v_with_sign(vf magnitude, vf sign)
{
    return v_as_float(v_or(v_as_int(magnitude), v_and(v_as_int(sign), v_set_i(INT32_MIN))));
}

LANES_INLINE vf v_negate(vf x)
{
    return v_as_float(v_xor(v_as_int(x), v_set_i(INT32_MIN)));
}

LANES_INLINE vf v_tanh(vf x)
{
    static const float p[] = {-3.333328068e-01f, 1.333144158e-01f, -5.373971537e-02f,
                              2.063908614e-02f, -5.704986863e-03f};
    vf magnitude = v_abs(x);
    vf u = v_mul(x, x);
    vf small = v_fma(v_mul(x, u), v_horner(u, p, 5), x);
    vf power = v_exp(v_add(magnitude, magnitude));
    vf large = v_sub(v_set(1.0f), v_div(v_set(2.0f), v_add(power, v_set(1.0f))));

    return v_select(v_less(magnitude, v_set(0.625f)), small, v_with_sign(large, x));
}

LANES_INLINE vf v_sigmoid(vf x)
{
    vf e = v_exp(v_negate(v_abs(x)));
    vf top = v_select(v_less(x, v_set(0.0f)), e, v_set(1.0f));

    return v_div(top, v_add(e, v_set(1.0f)));
}

LANES_INLINE vf v_softplus(vf x)
{
    return v_add(v_max(v_set(0.0f), x), v_log1p_unit(v_exp(v_negate(v_abs(x)))));
}

/* Phi(x), and exp(-x^2/2) in *bell: Phi(-t) = bell q p(q) with q = 1 / (1 + 0.3 t), t >= 0, keeps
 * its relative accuracy in the tail (the form of Abramowitz & Stegun 26.2.17). */
LANES_INLINE vf v_normal(vf x, vf *bell)
{
    static const float p[] = {1.196866930e-01f, 1.195718125e-01f,  1.102354378e-01f,
                              7.838959247e-02f, 9.615699947e-02f,  -7.942380011e-02f,
                              1.917849034e-01f, -2.282138765e-01f, 1.124357358e-01f,
                              -2.062349208e-02f};
    vf e = v_exp(v_mul(v_mul(x, x), v_set(-0.5f)));
    vf q = v_div(v_set(1.0f), v_fma(v_abs(x), v_set(0.3f), v_set(1.0f)));
    vf tail = v_mul(v_mul(e, q), v_horner(q, p, 10));

    *bell = e;
    return v_select(v_less(x, v_set(0.0f)), tail, v_sub(v_set(1.0f), tail));
}

/* The argument of GPT-2's GELU: x sigmoid(u(x)). */
LANES_INLINE vf v_gelu_argument(vf x)
{
    const float k = 1.5957691216057308f; /* 2 sqrt(2 / pi) */

    return v_mul(x, v_fma(v_mul(x, x), v_set(k * 0.044715f), v_set(k)));
}

/* The first n lanes of v, the others zero. */
LANES_INLINE vf v_keep_n(vf v, int64_t n)
{
    float lanes[LANES];

    v_store_n(lanes, v, n);
    return v_load_n(lanes, n);
}

#endif
