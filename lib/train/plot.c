/* SPDX-License-Identifier: MIT
 *
 * The picture: training and validation loss over steps, the learning rate on a scale of its own at
 * the right, round ticks, a legend. Text and shapes only, so that any browser shows it.
 */
#include "train/plot.h"

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"

#include <math.h>
#include <string.h>

enum { WIDTH = 840, HEIGHT = 480, LEFT = 70, RIGHT = 70, TOP = 50, BOTTOM = 60, TICKS = 6 };

enum { TRAINING, VALIDATION, RATE, SERIES };

struct point {
    double step;
    double value[SERIES]; /* NaN: none */
};

struct plot {
    struct memory *memory;
    struct point *points;
    size_t count, capacity;
    double first_step, last_step;
    double low, high;    /* of both losses */
    double highest_rate; /* 0: no rate is drawn */
    struct text svg;
};

static llm_status read_line(struct plot *plot, const char *line, size_t length, const char *path)
{
    static const char *const names[SERIES] = {"loss", "validation_loss", "learning_rate"};
    struct point point = {0.0, {(double)NAN, (double)NAN, (double)NAN}};
    json_t *object = NULL;
    llm_status status = json_open(&object, line, length, path);

    if (!status)
        status = json_require(object, "step");
    if (!status)
        status = json_read_double(object, "step", 0.0, 1e15, &point.step);
    for (int i = 0; i < SERIES && !status; i++)
        status = json_read_double(object, names[i], -1e30, 1e30, &point.value[i]);
    json_decref(object);
    if (!status)
        status = memory_grow(plot->memory, (void **)&plot->points, &plot->capacity, plot->count + 1,
                             sizeof *plot->points);
    if (!status)
        plot->points[plot->count++] = point;
    return status;
}

/* An unfinished last line is a run that is writing right now. */
static llm_status read_points(struct plot *plot, const char *path)
{
    char *data = NULL;
    size_t size = 0;
    llm_status status = file_read(&data, &size, plot->memory, path, (uint64_t)1 << 31);

    for (size_t at = 0; at < size && !status;) {
        const char *end = memchr(data + at, '\n', size - at);
        size_t length = end ? (size_t)(end - data) - at : 0;

        if (!end)
            break;
        if (length)
            status = read_line(plot, data + at, length, path);
        at += length + 1;
    }
    memory_release(plot->memory, data);
    if (!status && plot->count == 0)
        status = status_set(LLM_E_FORMAT, "%s holds no points to draw", path);
    return status;
}

/* 1, 2 or 5 times a power of ten, at least `least`. */
static double round_step(double least)
{
    double power = pow(10.0, floor(log10(least)));
    double share = least / power;

    return power * (share <= 1.0 ? 1.0 : share <= 2.0 ? 2.0 : share <= 5.0 ? 5.0 : 10.0);
}

static void find_ranges(struct plot *plot)
{
    double tick;

    plot->low = (double)INFINITY;
    plot->high = -(double)INFINITY;
    plot->first_step = (double)INFINITY;
    plot->last_step = 0.0;
    for (size_t i = 0; i < plot->count; i++) {
        const struct point *point = &plot->points[i];

        plot->first_step = fmin(plot->first_step, point->step);
        plot->last_step = fmax(plot->last_step, point->step);
        for (int s = TRAINING; s <= VALIDATION; s++) {
            plot->low = fmin(plot->low, point->value[s]); /* fmin and fmax leave NaN out */
            plot->high = fmax(plot->high, point->value[s]);
        }
        plot->highest_rate = fmax(plot->highest_rate, point->value[RATE]);
    }
    if (!(plot->low <= plot->high))
        plot->low = plot->high = 0.0;
    if (plot->high - plot->low < 1e-9)
        plot->high = plot->low + 1.0;
    tick = round_step((plot->high - plot->low) / TICKS);
    plot->low = floor(plot->low / tick) * tick;
    plot->high = ceil(plot->high / tick) * tick;
    if (plot->last_step <= plot->first_step)
        plot->last_step = plot->first_step + 1.0;
}

static double x_of(const struct plot *plot, double step)
{
    return LEFT + (WIDTH - LEFT - RIGHT) * (step - plot->first_step) /
                      (plot->last_step - plot->first_step);
}

static double y_of(double value, double low, double high)
{
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low);
}

static void put_line(struct plot *plot, double x1, double y1, double x2, double y2,
                     const char *style)
{
    text_append_z(&plot->svg, "<line x1=\"");
    text_append_double(&plot->svg, round(x1 * 10.0) / 10.0);
    text_append_z(&plot->svg, "\" y1=\"");
    text_append_double(&plot->svg, round(y1 * 10.0) / 10.0);
    text_append_z(&plot->svg, "\" x2=\"");
    text_append_double(&plot->svg, round(x2 * 10.0) / 10.0);
    text_append_z(&plot->svg, "\" y2=\"");
    text_append_double(&plot->svg, round(y2 * 10.0) / 10.0);
    text_printf(&plot->svg, "\" %s/>\n", style);
}

static void open_label(struct plot *plot, double x, double y, const char *style)
{
    text_append_z(&plot->svg, "<text x=\"");
    text_append_double(&plot->svg, round(x * 10.0) / 10.0);
    text_append_z(&plot->svg, "\" y=\"");
    text_append_double(&plot->svg, round(y * 10.0) / 10.0);
    text_printf(&plot->svg, "\" %s>", style);
}

static void put_label(struct plot *plot, double x, double y, const char *style, const char *label)
{
    open_label(plot, x, y, style);
    text_append_z(&plot->svg, label);
    text_append_z(&plot->svg, "</text>\n");
}

static void put_tick(struct plot *plot, double x, double y, const char *style, double value)
{
    open_label(plot, x, y, style);
    if (fabs(value) < 1e15 && floor(value) == value)
        text_printf(&plot->svg, "%lld", (long long)value);
    else
        text_append_double(&plot->svg, value);
    text_append_z(&plot->svg, "</text>\n");
}

/* The nearest short decimal, so that 0.30000000000000004 is 0.3. */
static double tidy(double value, double tick)
{
    double unit = pow(10.0, floor(log10(tick)));
    double whole = round(value / unit);

    return unit >= 1.0 ? whole * unit : whole / round(1.0 / unit);
}

static void put_axes(struct plot *plot)
{
    const char *grid = "stroke=\"#e3e3e3\"";
    double bottom = HEIGHT - BOTTOM;
    double right = WIDTH - RIGHT;
    double tick = round_step((plot->high - plot->low) / TICKS);

    for (double v = plot->low; v <= plot->high + tick / 2; v += tick) {
        double y = y_of(v, plot->low, plot->high);

        put_line(plot, LEFT, y, right, y, grid);
        put_tick(plot, LEFT - 8, y + 4, "text-anchor=\"end\"", tidy(v, tick));
    }
    tick = round_step((plot->last_step - plot->first_step) / TICKS);
    for (double v = ceil(plot->first_step / tick) * tick; v <= plot->last_step + tick / 1000;
         v += tick) {
        double x = x_of(plot, v);

        put_line(plot, x, TOP, x, bottom, grid);
        put_tick(plot, x, bottom + 20, "text-anchor=\"middle\"", tidy(v, tick));
    }
    if (plot->highest_rate > 0.0) {
        tick = round_step(plot->highest_rate / TICKS);
        for (double v = 0.0; v <= plot->highest_rate + tick / 1000; v += tick)
            put_tick(plot, right + 8, y_of(v, 0.0, plot->highest_rate * 1.05) + 4,
                     "fill=\"#7a9a7a\"", tidy(v, tick));
        put_label(plot, right + RIGHT - 8, TOP - 12, "text-anchor=\"end\" fill=\"#7a9a7a\"",
                  "learning rate");
    }
    put_line(plot, LEFT, TOP, LEFT, bottom, "stroke=\"#333\"");
    put_line(plot, LEFT, bottom, right, bottom, "stroke=\"#333\"");
    put_label(plot, LEFT + (right - LEFT) / 2, HEIGHT - 18, "text-anchor=\"middle\"", "step");
    put_label(plot, 14, TOP - 12, "", "loss (nats per token)");
}

static void put_series(struct plot *plot, int series, double low, double high, const char *style)
{
    text_append_z(&plot->svg, "<polyline fill=\"none\" ");
    text_append_z(&plot->svg, style);
    text_append_z(&plot->svg, " points=\"");
    for (size_t i = 0; i < plot->count; i++) {
        const struct point *point = &plot->points[i];

        if (isnan(point->value[series]))
            continue;
        text_append_double(&plot->svg, round(x_of(plot, point->step) * 10.0) / 10.0);
        text_append_z(&plot->svg, ",");
        text_append_double(&plot->svg, round(y_of(point->value[series], low, high) * 10.0) / 10.0);
        text_append_z(&plot->svg, " ");
    }
    text_append_z(&plot->svg, "\"/>\n");
}

static void put_dots(struct plot *plot)
{
    for (size_t i = 0; i < plot->count; i++) {
        const struct point *point = &plot->points[i];

        if (isnan(point->value[VALIDATION]))
            continue;
        text_append_z(&plot->svg, "<circle r=\"2.5\" fill=\"#d1495b\" cx=\"");
        text_append_double(&plot->svg, round(x_of(plot, point->step) * 10.0) / 10.0);
        text_append_z(&plot->svg, "\" cy=\"");
        text_append_double(
            &plot->svg, round(y_of(point->value[VALIDATION], plot->low, plot->high) * 10.0) / 10.0);
        text_append_z(&plot->svg, "\"/>\n");
    }
}

static bool has_series(const struct plot *plot, int series)
{
    for (size_t i = 0; i < plot->count; i++) {
        if (!isnan(plot->points[i].value[series]))
            return true;
    }
    return false;
}

static void put_legend(struct plot *plot)
{
    double x = WIDTH - RIGHT - 150;

    put_line(plot, x, TOP + 16, x + 26, TOP + 16, "stroke=\"#2b6cb0\" stroke-width=\"2\"");
    put_label(plot, x + 34, TOP + 20, "", "training");
    if (!has_series(plot, VALIDATION))
        return;
    put_line(plot, x, TOP + 36, x + 26, TOP + 36, "stroke=\"#d1495b\" stroke-width=\"2\"");
    put_label(plot, x + 34, TOP + 40, "", "validation");
}

static void put_title(struct plot *plot, const char *title)
{
    open_label(plot, WIDTH / 2.0, 24, "text-anchor=\"middle\" font-size=\"16\"");
    for (; *title; title++) {
        if (*title == '&')
            text_append_z(&plot->svg, "&amp;");
        else if (*title == '<')
            text_append_z(&plot->svg, "&lt;");
        else if ((unsigned char)*title >= ' ')
            text_append(&plot->svg, title, 1);
    }
    text_append_z(&plot->svg, "</text>\n");
}

static void draw(struct plot *plot, const char *title)
{
    text_printf(&plot->svg,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
                "height=\"%d\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#333\">\n"
                "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n",
                WIDTH, HEIGHT, WIDTH, HEIGHT, WIDTH, HEIGHT);
    put_axes(plot);
    if (plot->highest_rate > 0.0)
        put_series(plot, RATE, 0.0, plot->highest_rate * 1.05,
                   "stroke=\"#a9c7a9\" stroke-dasharray=\"4 3\"");
    put_series(plot, TRAINING, plot->low, plot->high, "stroke=\"#2b6cb0\" stroke-width=\"1.5\"");
    put_series(plot, VALIDATION, plot->low, plot->high, "stroke=\"#d1495b\" stroke-width=\"2\"");
    put_dots(plot);
    put_legend(plot);
    if (title)
        put_title(plot, title);
    text_append_z(&plot->svg, "</svg>\n");
}

llm_status plot_losses(llm_context *context, const char *svg_path, const char *metrics_path,
                       const char *title)
{
    struct plot plot = {.memory = &context->memory};
    llm_status status;

    text_init(&plot.svg, plot.memory);
    status = read_points(&plot, metrics_path);
    if (!status) {
        find_ranges(&plot);
        draw(&plot, title);
        status = plot.svg.failed ? LLM_E_NOMEM
                                 : file_write(plot.memory, svg_path, plot.svg.data, plot.svg.size);
    }
    text_free(&plot.svg);
    memory_release(plot.memory, plot.points);
    return status;
}
