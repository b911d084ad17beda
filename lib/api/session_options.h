/* SPDX-License-Identifier: MIT
 *
 * Generate options as a caller gave them: read and checked against the session. Shared by
 * session_api.c and batch_api.c.
 */
#ifndef API_SESSION_OPTIONS_H
#define API_SESSION_OPTIONS_H

#include "generate/session.h"

/* `given` NULL: the defaults. */
llm_status session_options_read(llm_generate_options *options, const llm_session *session,
                                const llm_generate_options *given);

#endif
