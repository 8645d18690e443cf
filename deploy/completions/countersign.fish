# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_countersign_global_optspecs
    string join \n cert= key= key-passphrase= pkcs12= pkcs12-passphrase= pkcs11-module= spiffe= cacert= system-roots pinnedpubkey= server-name= server-spiffe-id= tls-min= header= bearer= basic= api-key= headers-helper= jwt= hmac= http-signature= aws-sigv4= http= protocol= proxy= proxy-user= connect-timeout= idle-timeout= max-message= audit-log= config= profile= env-file= v/verbose debug log-format= h/help V/version
end

function __fish_countersign_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_countersign_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_countersign_using_subcommand
    set -l cmd (__fish_countersign_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c countersign -n "__fish_countersign_needs_command" -l cert -d 'Client certificate and its chain, PEM; may hold the key as well' -r
complete -c countersign -n "__fish_countersign_needs_command" -l key -d 'Private key, PEM or pkcs11:... [default: in the file of --cert]' -r
complete -c countersign -n "__fish_countersign_needs_command" -l key-passphrase -d 'Passphrase of an encrypted key, or PIN of its token' -r
complete -c countersign -n "__fish_countersign_needs_command" -l pkcs12 -d 'Client certificate, chain and key in one PKCS#12 file (.p12, .pfx)' -r
complete -c countersign -n "__fish_countersign_needs_command" -l pkcs12-passphrase -d 'Passphrase of the PKCS#12 file' -r
complete -c countersign -n "__fish_countersign_needs_command" -l pkcs11-module -d 'Library of the token, PKCS#11 [default: $PKCS11_MODULE_PATH]' -r
complete -c countersign -n "__fish_countersign_needs_command" -l spiffe -d 'SPIFFE agent that gives identity and roots: unix:PATH or agent' -r
complete -c countersign -n "__fish_countersign_needs_command" -l cacert -d 'Trust exactly these roots, PEM; repeatable' -r
complete -c countersign -n "__fish_countersign_needs_command" -l pinnedpubkey -d 'Accept only these server keys: sha256//BASE64[;sha256//BASE64...]' -r
complete -c countersign -n "__fish_countersign_needs_command" -l server-name -d 'The name in the server\'s certificate, where it is not the URL\'s host' -r
complete -c countersign -n "__fish_countersign_needs_command" -l server-spiffe-id -d 'The server\'s SPIFFE id, checked in place of its name' -r
complete -c countersign -n "__fish_countersign_needs_command" -l tls-min -d 'Oldest TLS version [default: 1.2]' -r -f -a "1.2\t''
1.3\t''"
complete -c countersign -n "__fish_countersign_needs_command" -l header -d 'Header to add, \'Name: value\'; repeatable' -r
complete -c countersign -n "__fish_countersign_needs_command" -l bearer -d 'Authorization: Bearer, the token from a reference' -r
complete -c countersign -n "__fish_countersign_needs_command" -l basic -d 'Authorization: Basic, the password from a reference' -r
complete -c countersign -n "__fish_countersign_needs_command" -l api-key -d 'API key, in X-API-Key or the header NAME; repeatable' -r
complete -c countersign -n "__fish_countersign_needs_command" -l headers-helper -d 'Program that prints headers as one JSON object' -r
complete -c countersign -n "__fish_countersign_needs_command" -l jwt -d 'Token minted here: alg=ES256,key=REF,iss=...,aud=...' -r
complete -c countersign -n "__fish_countersign_needs_command" -l hmac -d 'Code over the request: preset=NAME,key=REF,...' -r
complete -c countersign -n "__fish_countersign_needs_command" -l http-signature -d 'Signature of RFC 9421: alg=NAME,key=REF,keyid=...' -r
complete -c countersign -n "__fish_countersign_needs_command" -l aws-sigv4 -d 'AWS signature, as curl has it: aws:amz:REGION:SERVICE' -r
complete -c countersign -n "__fish_countersign_needs_command" -l http -d 'HTTP version [default: auto]' -r -f -a "auto\t''
1.1\t''
2\t''"
complete -c countersign -n "__fish_countersign_needs_command" -l protocol -d 'The client\'s era of MCP: modern or legacy [default: auto]' -r -f -a "auto\t''
modern\t''
legacy\t''"
complete -c countersign -n "__fish_countersign_needs_command" -l proxy -d 'Proxy to go through [default: $HTTPS_PROXY, else $ALL_PROXY]' -r
complete -c countersign -n "__fish_countersign_needs_command" -l proxy-user -d 'Who we are to the proxy, the password from a reference' -r
complete -c countersign -n "__fish_countersign_needs_command" -l connect-timeout -d 'Time to connect in, TLS included: 10, 500ms [default: 10s]' -r
complete -c countersign -n "__fish_countersign_needs_command" -l idle-timeout -d 'Time without a byte after which a call is given up [default: 5m]' -r
complete -c countersign -n "__fish_countersign_needs_command" -l max-message -d 'The largest message to carry: bytes, KiB, MiB, GiB [default: 64MiB]' -r
complete -c countersign -n "__fish_countersign_needs_command" -l audit-log -d 'File that gets one line of JSON for each request, for its owner alone' -r
complete -c countersign -n "__fish_countersign_needs_command" -l config -d 'File of profiles, TOML [default: $COUNTERSIGN_CONFIG]' -r
complete -c countersign -n "__fish_countersign_needs_command" -l profile -d 'The profile to use [default: the only one, or the one named default]' -r
complete -c countersign -n "__fish_countersign_needs_command" -l env-file -d 'File of variables, .env, for templates and env: references' -r
complete -c countersign -n "__fish_countersign_needs_command" -l log-format -d 'How to write it [default: text]' -r -f -a "text\t''
json\t''"
complete -c countersign -n "__fish_countersign_needs_command" -l system-roots -d 'Trust the system\'s roots besides those of --cacert'
complete -c countersign -n "__fish_countersign_needs_command" -s v -l verbose -d 'Say more on stderr; repeatable'
complete -c countersign -n "__fish_countersign_needs_command" -l debug -d 'Show requests and responses, values redacted, and timings'
complete -c countersign -n "__fish_countersign_needs_command" -s h -l help -d 'Print help'
complete -c countersign -n "__fish_countersign_needs_command" -s V -l version -d 'Print version'
complete -c countersign -n "__fish_countersign_needs_command" -a "demo" -d 'A tour that needs nothing: an mTLS gateway, an MCP server and the bridge between'
complete -c countersign -n "__fish_countersign_needs_command" -a "serve" -d 'A reverse proxy beside a workload: HTTP in on this machine, mTLS and credentials out'
complete -c countersign -n "__fish_countersign_needs_command" -a "headers" -d 'Print the headers that a request would get, as one JSON object'
complete -c countersign -n "__fish_countersign_needs_command" -a "exec" -d 'Start a local server with the variables of [profile.NAME.env] in its environment'
complete -c countersign -n "__fish_countersign_needs_command" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c countersign -n "__fish_countersign_using_subcommand demo" -l log-format -d 'How to write it [default: text]' -r -f -a "text\t''
json\t''"
complete -c countersign -n "__fish_countersign_using_subcommand demo" -l stdio -d 'Be a stdio MCP server for any client to be pointed at'
complete -c countersign -n "__fish_countersign_using_subcommand demo" -s v -l verbose -d 'Say more on stderr; repeatable'
complete -c countersign -n "__fish_countersign_using_subcommand demo" -l debug -d 'Show requests and responses, values redacted, and timings'
complete -c countersign -n "__fish_countersign_using_subcommand demo" -s h -l help -d 'Print help'
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l listen -d 'Address to listen on: HOST:PORT, unix:PATH, fd:3; repeatable [default: 127.0.0.1:8080]' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l listen-mode -d 'Mode of Unix sockets [default: 0600]' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l listen-group -d 'Group of Unix sockets, a name or a number' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l listen-cert -d 'Certificate of TCP listeners and its chain, PEM: they speak TLS then' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l listen-key -d 'Its private key, PEM [default: in the file of --listen-cert]' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l client-ca -d 'Roots that client certificates of callers must come from, PEM' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l client-name -d 'Name (DNS, URI) that a caller\'s certificate must have; repeatable' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l allow-host -d 'Name that requests may be for, besides localhost; repeatable' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l allow-origin -d 'Origin of web pages that may ask, besides localhost\'s; repeatable' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l allow-uid -d 'User whose processes may connect to Unix sockets [default: our own]; repeatable' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l require-header -d 'Header that each request must have, \'Name: value\'' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l inbound-bearer -d 'Token that callers must send in Authorization: Bearer' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l max-connections -d 'Connections at a time [default: 4096]' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l max-requests -d 'Requests at a time, listening streams included [default: 2048]' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l header-timeout -d 'Time for a request\'s head, and between requests [default: 60s]' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l body-timeout -d 'Time for a request\'s body, and to take some of an answer [default: 60s]' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l drain-timeout -d 'Time for what is under way at SIGTERM [default: 30s]' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l admin -d 'Address of /healthz, /readyz and /metrics: loopback or unix:PATH' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l access-log -d 'File that gets one line of JSON for each request; - is stdout' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l otlp -d 'Collector that gets a span of each request (OTLP over HTTP): http://127.0.0.1:4318' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l cert -d 'Client certificate and its chain, PEM; may hold the key as well' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l key -d 'Private key, PEM or pkcs11:... [default: in the file of --cert]' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l key-passphrase -d 'Passphrase of an encrypted key, or PIN of its token' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l pkcs12 -d 'Client certificate, chain and key in one PKCS#12 file (.p12, .pfx)' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l pkcs12-passphrase -d 'Passphrase of the PKCS#12 file' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l pkcs11-module -d 'Library of the token, PKCS#11 [default: $PKCS11_MODULE_PATH]' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l spiffe -d 'SPIFFE agent that gives identity and roots: unix:PATH or agent' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l cacert -d 'Trust exactly these roots, PEM; repeatable' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l pinnedpubkey -d 'Accept only these server keys: sha256//BASE64[;sha256//BASE64...]' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l server-name -d 'The name in the server\'s certificate, where it is not the URL\'s host' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l server-spiffe-id -d 'The server\'s SPIFFE id, checked in place of its name' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l tls-min -d 'Oldest TLS version [default: 1.2]' -r -f -a "1.2\t''
1.3\t''"
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l header -d 'Header to add, \'Name: value\'; repeatable' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l bearer -d 'Authorization: Bearer, the token from a reference' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l basic -d 'Authorization: Basic, the password from a reference' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l api-key -d 'API key, in X-API-Key or the header NAME; repeatable' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l headers-helper -d 'Program that prints headers as one JSON object' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l jwt -d 'Token minted here: alg=ES256,key=REF,iss=...,aud=...' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l hmac -d 'Code over the request: preset=NAME,key=REF,...' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l http-signature -d 'Signature of RFC 9421: alg=NAME,key=REF,keyid=...' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l aws-sigv4 -d 'AWS signature, as curl has it: aws:amz:REGION:SERVICE' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l http -d 'HTTP version [default: auto]' -r -f -a "auto\t''
1.1\t''
2\t''"
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l protocol -d 'The client\'s era of MCP: modern or legacy [default: auto]' -r -f -a "auto\t''
modern\t''
legacy\t''"
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l proxy -d 'Proxy to go through [default: $HTTPS_PROXY, else $ALL_PROXY]' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l proxy-user -d 'Who we are to the proxy, the password from a reference' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l connect-timeout -d 'Time to connect in, TLS included: 10, 500ms [default: 10s]' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l idle-timeout -d 'Time without a byte after which a call is given up [default: 5m]' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l max-message -d 'The largest message to carry: bytes, KiB, MiB, GiB [default: 64MiB]' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l audit-log -d 'File that gets one line of JSON for each request, for its owner alone' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l config -d 'File of profiles, TOML [default: $COUNTERSIGN_CONFIG]' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l profile -d 'The profile to use [default: the only one, or the one named default]' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l env-file -d 'File of variables, .env, for templates and env: references' -r
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l log-format -d 'How to write it [default: text]' -r -f -a "text\t''
json\t''"
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l unsafe-listen -d 'Listen beyond this machine without client certificates; needs --inbound-bearer'
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l ready-upstream -d 'Ready only while the upstreams can be reached: a TLS handshake, no request'
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l healthcheck -d 'Ask a running sidecar at --admin whether it is ready; exits 0 if it is'
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l translate -d 'Speak for clients whose era of MCP is not the upstream\'s'
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l demo -d 'Stand before the demo\'s gateway and MCP server, which need nothing'
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l system-roots -d 'Trust the system\'s roots besides those of --cacert'
complete -c countersign -n "__fish_countersign_using_subcommand serve" -s v -l verbose -d 'Say more on stderr; repeatable'
complete -c countersign -n "__fish_countersign_using_subcommand serve" -l debug -d 'Show requests and responses, values redacted, and timings'
complete -c countersign -n "__fish_countersign_using_subcommand serve" -s h -l help -d 'Print help'
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l cert -d 'Client certificate and its chain, PEM; may hold the key as well' -r
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l key -d 'Private key, PEM or pkcs11:... [default: in the file of --cert]' -r
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l key-passphrase -d 'Passphrase of an encrypted key, or PIN of its token' -r
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l pkcs12 -d 'Client certificate, chain and key in one PKCS#12 file (.p12, .pfx)' -r
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l pkcs12-passphrase -d 'Passphrase of the PKCS#12 file' -r
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l pkcs11-module -d 'Library of the token, PKCS#11 [default: $PKCS11_MODULE_PATH]' -r
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l spiffe -d 'SPIFFE agent that gives identity and roots: unix:PATH or agent' -r
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l cacert -d 'Trust exactly these roots, PEM; repeatable' -r
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l pinnedpubkey -d 'Accept only these server keys: sha256//BASE64[;sha256//BASE64...]' -r
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l server-name -d 'The name in the server\'s certificate, where it is not the URL\'s host' -r
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l server-spiffe-id -d 'The server\'s SPIFFE id, checked in place of its name' -r
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l tls-min -d 'Oldest TLS version [default: 1.2]' -r -f -a "1.2\t''
1.3\t''"
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l header -d 'Header to add, \'Name: value\'; repeatable' -r
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l bearer -d 'Authorization: Bearer, the token from a reference' -r
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l basic -d 'Authorization: Basic, the password from a reference' -r
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l api-key -d 'API key, in X-API-Key or the header NAME; repeatable' -r
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l headers-helper -d 'Program that prints headers as one JSON object' -r
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l jwt -d 'Token minted here: alg=ES256,key=REF,iss=...,aud=...' -r
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l hmac -d 'Code over the request: preset=NAME,key=REF,...' -r
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l http-signature -d 'Signature of RFC 9421: alg=NAME,key=REF,keyid=...' -r
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l aws-sigv4 -d 'AWS signature, as curl has it: aws:amz:REGION:SERVICE' -r
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l http -d 'HTTP version [default: auto]' -r -f -a "auto\t''
1.1\t''
2\t''"
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l protocol -d 'The client\'s era of MCP: modern or legacy [default: auto]' -r -f -a "auto\t''
modern\t''
legacy\t''"
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l proxy -d 'Proxy to go through [default: $HTTPS_PROXY, else $ALL_PROXY]' -r
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l proxy-user -d 'Who we are to the proxy, the password from a reference' -r
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l connect-timeout -d 'Time to connect in, TLS included: 10, 500ms [default: 10s]' -r
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l idle-timeout -d 'Time without a byte after which a call is given up [default: 5m]' -r
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l max-message -d 'The largest message to carry: bytes, KiB, MiB, GiB [default: 64MiB]' -r
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l audit-log -d 'File that gets one line of JSON for each request, for its owner alone' -r
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l config -d 'File of profiles, TOML [default: $COUNTERSIGN_CONFIG]' -r
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l profile -d 'The profile to use [default: the only one, or the one named default]' -r
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l env-file -d 'File of variables, .env, for templates and env: references' -r
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l log-format -d 'How to write it [default: text]' -r -f -a "text\t''
json\t''"
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l system-roots -d 'Trust the system\'s roots besides those of --cacert'
complete -c countersign -n "__fish_countersign_using_subcommand headers" -s v -l verbose -d 'Say more on stderr; repeatable'
complete -c countersign -n "__fish_countersign_using_subcommand headers" -l debug -d 'Show requests and responses, values redacted, and timings'
complete -c countersign -n "__fish_countersign_using_subcommand headers" -s h -l help -d 'Print help'
complete -c countersign -n "__fish_countersign_using_subcommand exec" -l config -d 'File of profiles, TOML [default: $COUNTERSIGN_CONFIG]' -r
complete -c countersign -n "__fish_countersign_using_subcommand exec" -l profile -d 'The profile to use [default: the only one, or the one named default]' -r
complete -c countersign -n "__fish_countersign_using_subcommand exec" -l env-file -d 'File of variables, .env, for templates and env: references' -r
complete -c countersign -n "__fish_countersign_using_subcommand exec" -l log-format -d 'How to write it [default: text]' -r -f -a "text\t''
json\t''"
complete -c countersign -n "__fish_countersign_using_subcommand exec" -s v -l verbose -d 'Say more on stderr; repeatable'
complete -c countersign -n "__fish_countersign_using_subcommand exec" -l debug -d 'Show requests and responses, values redacted, and timings'
complete -c countersign -n "__fish_countersign_using_subcommand exec" -s h -l help -d 'Print help'
complete -c countersign -n "__fish_countersign_using_subcommand help; and not __fish_seen_subcommand_from demo serve headers exec help" -f -a "demo" -d 'A tour that needs nothing: an mTLS gateway, an MCP server and the bridge between'
complete -c countersign -n "__fish_countersign_using_subcommand help; and not __fish_seen_subcommand_from demo serve headers exec help" -f -a "serve" -d 'A reverse proxy beside a workload: HTTP in on this machine, mTLS and credentials out'
complete -c countersign -n "__fish_countersign_using_subcommand help; and not __fish_seen_subcommand_from demo serve headers exec help" -f -a "headers" -d 'Print the headers that a request would get, as one JSON object'
complete -c countersign -n "__fish_countersign_using_subcommand help; and not __fish_seen_subcommand_from demo serve headers exec help" -f -a "exec" -d 'Start a local server with the variables of [profile.NAME.env] in its environment'
complete -c countersign -n "__fish_countersign_using_subcommand help; and not __fish_seen_subcommand_from demo serve headers exec help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
