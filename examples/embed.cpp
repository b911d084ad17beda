/* SPDX-License-Identifier: MIT
 *
 * libllm inside a C++ program: handles in unique_ptr, errors as exceptions, tokens as they come.
 *
 *   c++ -std=c++11 embed.cpp -o embed $(pkg-config --cflags --libs libllm)
 *   ./embed MODEL_DIR "In the beginning"
 */
#include <llm.h>

#include <cstring>
#include <exception>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>

namespace {

template <typename T> struct Free {
    void (*release)(T *);
    void operator()(T *handle) const { release(handle); }
};
template <typename T> using Handle = std::unique_ptr<T, Free<T>>;

void check(llm_status status)
{
    if (status != LLM_OK)
        throw std::runtime_error(llm_last_error());
}

int32_t print(void *, const llm_token *token)
{
    std::cout.write(token->text, static_cast<std::streamsize>(token->text_size)).flush();
    return std::cout ? 0 : 1; /* not 0 stops */
}

void run(const std::string &directory, const std::string &prompt)
{
    llm_context *raw_context = nullptr;
    check(llm_context_new(&raw_context, nullptr));
    Handle<llm_context> context(raw_context, {llm_context_free});

    llm_model *raw_model = nullptr;
    check(llm_model_load(&raw_model, context.get(), directory.c_str(), nullptr));
    Handle<llm_model> model(raw_model, {llm_model_free});

    llm_tokenizer *raw_tokenizer = nullptr;
    check(llm_tokenizer_load(&raw_tokenizer, context.get(), directory.c_str()));
    Handle<llm_tokenizer> tokenizer(raw_tokenizer, {llm_tokenizer_free});

    llm_session *raw_session = nullptr;
    check(llm_session_new(&raw_session, model.get(), tokenizer.get(), nullptr));
    Handle<llm_session> session(raw_session, {llm_session_free});

    llm_generate_options options;
    check(llm_generate_options_init(&options, sizeof options));
    options.temperature = 0.8;
    options.top_p = 0.95;
    options.max_tokens = 100;
    options.on_token = print;
    std::cout << prompt;
    check(llm_session_append_text(session.get(), prompt.data(), prompt.size(), nullptr));
    check(llm_session_generate(session.get(), &options));
    std::cout << std::endl;
}

} // namespace

int main(int argc, char **argv)
{
    try {
        run(argc > 1 ? argv[1] : "out/model", argc > 2 ? argv[2] : "In the beginning");
    } catch (const std::exception &error) {
        std::cerr << "embed: " << error.what() << std::endl;
        return 1;
    }
    return 0;
}
