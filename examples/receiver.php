<?php
// Receive webhooks in plain PHP: store each event once, accept new orders, answer 200.
//
//   KALATHI_URL=http://127.0.0.1:8090 KALATHI_TOKEN=... RECEIVER_KEY=change-me php -S 127.0.0.1:9000 receiver.php
//
// The webhook URL is then http://127.0.0.1:9000/?key=change-me. RECEIVER_FOLDER is the folder of the events ("events"
// unless set). RECEIVER_SECRETS are signing secrets, separated by commas; if set, only signed webhooks are received.
declare(strict_types=1);

require __DIR__ . '/smart_cart.php';

// An uncaught error must be a 500, so that the marketplace sends the event again. While PHP displays errors, it is a 200.
ini_set('display_errors', '0');
$body = file_get_contents('php://input');
[$status, $message] = receive($_SERVER['REQUEST_METHOD'], $_GET, array_change_key_case(getallheaders()), $body);
http_response_code($status);
header('Content-Type: text/plain; charset=utf-8');
echo $message, "\n";

/** @return array{int, string} the status and the text of the answer */
function receive(string $method, array $query, array $headers, string $body): array
{
    $key = getenv('RECEIVER_KEY');
    if ($key === false || $key === '') {
        return [500, 'RECEIVER_KEY is missing: set it to a secret, and give the webhook URL the same key.'];
    }
    $given = $query['key'] ?? ''; // `?key[]=x` makes it an array.
    if ($method !== 'POST' || !is_string($given) || !hash_equals($key, $given)) {
        return [404, 'There is no such page.'];
    }
    $secrets = array_filter(explode(',', getenv('RECEIVER_SECRETS') ?: ''));
    if ($secrets !== [] && !is_signed($secrets, $headers, $body)) {
        return [401, 'The signature is missing, wrong or too old.'];
    }
    $event = json_decode($body, true);
    if (!is_array($event) || !isset($event['event_type'])) {
        return [400, 'The body is not an event.'];
    }
    $isNew = store_event($body);
    // The same event can come more than once. An order that is answered already is not open any more, so accepting it
    // again after a lost answer does no harm.
    $code = $event['order']['code'] ?? null;
    if ($event['event_type'] === 'new_order' && is_string($code)) {
        return accept_order($code);
    }
    return [200, $isNew ? 'Stored.' : 'Stored before.'];
}

/** Store the event under the hash of its bytes, which a retry repeats. Return whether it is new. */
function store_event(string $body): bool
{
    $folder = getenv('RECEIVER_FOLDER') ?: 'events';
    if (!is_dir($folder)) {
        @mkdir($folder, 0700, true); // Another request may create it at the same moment.
    }
    $unfinished = tempnam($folder, 'part');
    $file = fopen($unfinished, 'wb');
    $isWritten = fwrite($file, $body) === strlen($body) && fsync($file);
    fclose($file);
    // A link is made whole or not at all, and fails if the name exists.
    $stored = $folder . '/' . hash('sha256', $body) . '.json';
    $isNew = $isWritten && @link($unfinished, $stored);
    unlink($unfinished);
    if (!file_exists($stored)) {
        throw new RuntimeException("The event cannot be stored in $folder.");
    }
    return $isNew;
}

/** Fetch the order with the shop's own token and accept it, if it is still open. */
function accept_order(string $code): array
{
    // Two calls must end well within the ten seconds that the marketplace waits.
    $client = new SmartCart(getenv('KALATHI_URL') ?: '', getenv('KALATHI_TOKEN') ?: '', timeoutSeconds: 3.0);
    try {
        $order = $client->order($code);
        if ($order['state'] !== 'open' || ($order['express'] ?? false)) {
            return [200, 'Nothing to answer.']; // The marketplace accepts express orders itself.
        }
        // Check your own stock here, and call rejectLines() if pieces are missing.
        $client->accept($order);
        return [200, "Accepted $code."];
    } catch (SmartCartError $error) {
        // After a temporary failure 503 makes the marketplace send the event again. Other failures need a person.
        error_log("Order $code is not accepted: {$error->getMessage()}");
        return $error->isTemporary() ? [503, 'The marketplace did not answer.'] : [200, 'Stored, not accepted.'];
    }
}
